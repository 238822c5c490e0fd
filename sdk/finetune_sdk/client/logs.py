"""The trainer's log: of the newest pod, or of one pod after another until the run ends."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client.changes import Deadline, Trouble
from finetune_sdk.client.cluster import Cluster, Json
from finetune_sdk.client.errors import NoLogs, NotFound, ServerError, Unreachable
from finetune_sdk.client.goals import is_finished
from finetune_sdk.contract import RUN_UID_LABEL

_ENDED = ("Succeeded", "Failed")
_READINGS = 6
"""Of one log that the API server fails to give, 6 s in all: the node behind it may not answer any more."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class LogLine:
    """One line of the trainer's log."""

    pod: str
    """The attempt's pod."""
    text: str
    """Without its end."""
    at: datetime
    """When it was written, UTC. A word of the node's own has no time: that of the line before it, or the pod's."""


def newest_log(cluster: Cluster, run: FinetuneRun, tail: int | None) -> Iterator[LogLine]:
    """What the newest pod has written so far. Raises NoLogs."""
    pods = _pods_of(cluster, run)
    if not pods:
        raise _no_pod(run)
    yield from _Reader(cluster, pods[-1], tail).read(follow=False)


def followed_log(
    cluster: Cluster,
    run: FinetuneRun,
    tail: int | None,
    *,
    look: Callable[[], FinetuneRun],
    wait: Callable[[FinetuneRun], None],
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[LogLine]:
    """Lines of the newest pod, then of each that comes after it, until the run has ended.

    `look` gives the run as it is now; `wait` returns once it has changed, or after a while.

    Raises:
        NoLogs: the run ended and none of its pods is left.
        ServerError: the API server did not answer for PATIENCE_SECONDS.
    """
    done: set[str] = set()
    reader: _Reader | None = None
    while True:
        over = is_finished(run)  # asked before the pods: one that came before the end is found
        pods = _patiently(partial(_pods_of, cluster, run), pause)
        waiting = [pod for pod in pods if _uid(pod) not in done]
        if reader is None and waiting:  # of pods from before the call only the newest
            done |= {_uid(pod) for pod in waiting[:-1]}
            waiting = waiting[-1:]
        if waiting:
            pod = waiting[0]
            if reader is None or reader.uid != _uid(pod):
                reader = _Reader(cluster, pod, tail if reader is None else None)
            yield from reader.read_patiently(follow=not over, pause=pause)
            # Its phase was asked before its log, so the log was whole; or nobody waits for the rest of it any more.
            if pod["status"].get("phase") in _ENDED or len(waiting) > 1 or over:
                done.add(_uid(pod))
                continue
        elif over:
            if reader is None:
                raise _no_pod(run)
            return
        wait(run)
        run = _patiently(look, pause)


class _Reader:
    """One pod's log, which goes on where it broke off."""

    def __init__(self, cluster: Cluster, pod: Json, tail: int | None) -> None:
        self.uid = _uid(pod)
        self._cluster, self._tail = cluster, tail
        self._namespace, self._name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._last: datetime | None = None
        self._created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).astimezone(UTC)
        self._of_node: set[str] = set()

    def read(self, *, follow: bool) -> Iterator[LogLine]:
        """Lines that were not read yet, until the connection ends."""
        last = self._last
        since = last.strftime("%Y-%m-%dT%H:%M:%SZ") if last else None  # Kubernetes knows whole seconds only
        tail = None if last else self._tail
        for raw in self._cluster.read_log(self._namespace, self._name, follow=follow, since=since, tail=tail):
            at, text = _parted(raw)
            if at is None:
                yield from self._word_of_node(text)
            elif last is None or at > last:
                last, self._last = None, at  # from the first new line on all are new, also two of one moment
                yield LogLine(self._name, text, at)

    def read_patiently(self, *, follow: bool, pause: Callable[[float], None]) -> Iterator[LogLine]:
        """As `read`; nothing where there is no log yet or any more, or its node does not answer."""
        trouble, failed = Trouble(Deadline.after(None), pause), 0
        while True:
            try:
                yield from self.read(follow=follow)
                return
            except Unreachable as error:  # says nothing of the log, which may be whole and not read yet
                trouble.wait(error)
            except ServerError as error:  # a node that is lost must not hold up what is told of the run's end
                failed += 1
                if failed == _READINGS:
                    return
                trouble.wait(error)
            except (NoLogs, NotFound):
                return

    def _word_of_node(self, text: str) -> Iterator[LogLine]:
        """What the kubelet writes into the log where it fails to read on: once, though it says so at each reading."""
        if text not in self._of_node:
            self._of_node.add(text)
            yield LogLine(self._name, text, self._last or self._created)


def _parted(raw: str) -> tuple[datetime | None, str]:
    """The time before a line and its text; None and all of it where no time is."""
    stamp, _, text = raw.partition(" ")
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC), text
    except ValueError:
        return None, raw


def _patiently(ask: Callable[[], _T], pause: Callable[[float], None]) -> _T:
    """The answer, asked for again and again while the API server fails. Raises ServerError as `changes.follow` does."""
    trouble = Trouble(Deadline.after(None), pause)
    while True:
        try:
            return ask()
        except ServerError as error:
            trouble.wait(error)


def _pods_of(cluster: Cluster, run: FinetuneRun) -> list[Json]:
    """The run's pods, the oldest first."""
    namespace = run.metadata.namespace or cluster.namespace
    pods = cluster.list_pods(namespace, f"{RUN_UID_LABEL}={run.metadata.uid}")
    return sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def _uid(pod: Json) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid


def _no_pod(run: FinetuneRun) -> NoLogs:
    status = run.status
    what = f"run {run.metadata.name!r} is {status.state}{f', {status.reason}' if status.reason else ''}"
    if is_finished(run):
        return NoLogs(
            f"{what}, and its pods are deleted: the end of their logs is at {run.spec.output.uri.rstrip('/')}/logs/"
        )
    return NoLogs(f"{what}, and has no pod yet: its log begins when it runs")
