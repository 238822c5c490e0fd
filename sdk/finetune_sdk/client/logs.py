"""The trainer's log: of the newest pod, or of one pod after another until the run ends."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client.cluster import Cluster, Json
from finetune_sdk.client.errors import NoLogs, NotFound, ServerError
from finetune_sdk.client.goals import is_finished
from finetune_sdk.contract import RUN_UID_LABEL

_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class LogLine:
    """One line of the trainer's log."""

    pod: str
    """The attempt's pod."""
    text: str
    """Without its end."""
    at: datetime
    """When it was written, UTC."""


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
) -> Iterator[LogLine]:
    """Lines of the newest pod, then of each that comes after it, until the run has ended.

    `look` gives the run as it is now; `wait` returns once it has changed, or after a while. Raises NoLogs where the
    run ended and none of its pods is left.
    """
    done: set[str] = set()
    reader: _Reader | None = None
    while True:
        over = is_finished(run)  # asked before the pods: one that came before the end is found
        waiting = [pod for pod in _pods_of(cluster, run) if _uid(pod) not in done]
        if reader is None and waiting:  # of pods from before the call only the newest
            done |= {_uid(pod) for pod in waiting[:-1]}
            waiting = waiting[-1:]
        if waiting:
            pod = waiting[0]
            if reader is None or reader.uid != _uid(pod):
                reader = _Reader(cluster, pod, tail if reader is None else None)
            yield from reader.read_patiently(follow=not over)
            # Its phase was asked before its log, so the log was whole; or nobody waits for the rest of it any more.
            if pod["status"].get("phase") in _ENDED or len(waiting) > 1 or over:
                done.add(_uid(pod))
                continue
        elif over:
            if reader is None:
                raise _no_pod(run)
            return
        wait(run)
        run = look()


class _Reader:
    """One pod's log, which goes on where it broke off."""

    def __init__(self, cluster: Cluster, pod: Json, tail: int | None) -> None:
        self.uid = _uid(pod)
        self._cluster, self._tail = cluster, tail
        self._namespace, self._name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._last: datetime | None = None

    def read(self, *, follow: bool) -> Iterator[LogLine]:
        """Lines that were not read yet, until the connection ends."""
        last = self._last
        since = last.strftime("%Y-%m-%dT%H:%M:%SZ") if last else None  # Kubernetes knows whole seconds only
        tail = None if last else self._tail
        for raw in self._cluster.read_log(self._namespace, self._name, follow=follow, since=since, tail=tail):
            stamp, _, text = raw.partition(" ")
            at = datetime.fromisoformat(stamp).astimezone(UTC)
            if last is not None and at <= last:
                continue
            last, self._last = None, at  # from the first new line on all are new, also two of one moment
            yield LogLine(self._name, text, at)

    def read_patiently(self, *, follow: bool) -> Iterator[LogLine]:
        """As `read`; nothing where there is no log yet or any more, or its node does not answer."""
        try:
            yield from self.read(follow=follow)
        except (NoLogs, NotFound, ServerError):
            return


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
