"""Runs as they change: a list, then a watch, and again from a list whenever the watch breaks or is forgotten."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client.cluster import Cluster, Json, Listing, Scope, WatchExpired
from finetune_sdk.client.documents import run_of
from finetune_sdk.client.errors import ServerError

WATCH_SECONDS = 300.0
"""Of one watch: a connection that died without a word is found out by then."""
PATIENCE_SECONDS = 120.0
"""How long an API server that does not answer is asked again."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0

Clock = Callable[[], float]
_Key = tuple[str, str]


@dataclass(frozen=True)
class RunChange:
    """One thing that happened to a run."""

    kind: Literal["added", "modified", "deleted"]
    """added: also each run that is there when watching begins."""
    run: FinetuneRun
    """As it is now; where it was deleted, as it was last."""
    before: FinetuneRun | None = None
    """As it was seen before; None where it was not."""


@dataclass(frozen=True)
class Deadline:
    """A moment after which nobody waits any more."""

    at: float | None
    """Of the clock; None: never."""
    clock: Clock = time.monotonic

    @classmethod
    def after(cls, seconds: float | None) -> "Deadline":
        """So many seconds from now; None: never."""
        return cls(None if seconds is None else time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds; at least 0, and infinite where there is no end."""
        return float("inf") if self.at is None else max(0.0, self.at - self.clock())

    def over(self) -> bool:
        """Whether the time has come."""
        return self.left <= 0


def follow(
    cluster: Cluster,
    scope: Scope,
    deadline: Deadline,
    *,
    known: FinetuneRun | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[RunChange]:
    """All changes until the deadline. `known`: a run that the caller has seen, so that its deletion is told.

    Raises:
        ServerError: the API server did not answer for PATIENCE_SECONDS.
        ClientError: it refuses.
    """
    seen = _Seen(known)
    trouble = Trouble(deadline, pause)
    while not deadline.over():
        try:
            listing = cluster.list_runs(scope)
            yield from seen.compare(listing)
            for kind, document in cluster.watch_runs(scope, listing.version, min(WATCH_SECONDS, deadline.left)):
                trouble.over()
                yield from seen.take(document, deleted=kind == "DELETED")
                if deadline.over():
                    return
        except WatchExpired:
            trouble.settle()
        except ServerError as error:
            trouble.wait(error)
        else:
            trouble.settle()


class Trouble:
    """Pauses that grow while the API server does not answer, and an end to them."""

    def __init__(self, deadline: Deadline, pause: Callable[[float], None]) -> None:
        self._deadline, self._pause = deadline, pause
        self.over()

    def over(self) -> None:
        """It answers."""
        self._next, self._spent = FIRST_PAUSE_SECONDS, 0.0

    def settle(self) -> None:
        """A watch ended: a moment's rest, so that one which always ends at once is no storm."""
        self._pause(min(FIRST_PAUSE_SECONDS, self._deadline.left))

    def wait(self, error: ServerError) -> None:
        """Raise `error` once the patience is used up."""
        if self._spent >= PATIENCE_SECONDS:
            raise error
        seconds = min(self._next, self._deadline.left)
        self._spent += self._next
        self._next = min(2 * self._next, LONGEST_PAUSE_SECONDS)
        self._pause(seconds)


class _Seen:
    """What is known of the runs in a scope; each new sight of them becomes changes."""

    def __init__(self, known: FinetuneRun | None) -> None:
        self._runs: dict[_Key, FinetuneRun] = {}
        self._untold = known
        """A run of which the caller knows, but that this has not told of yet."""
        if known is not None:
            self._runs[_key(known)] = known

    def compare(self, listing: Listing) -> Iterator[RunChange]:
        """Everything that differs from what was known."""
        runs = [run_of(item) for item in listing.items]
        there = {_key(run) for run in runs}
        for key in [key for key in self._runs if key not in there]:
            yield RunChange("deleted", self._runs.pop(key))
        for run in runs:
            yield from self._see(run)

    def take(self, document: Json, *, deleted: bool) -> Iterator[RunChange]:
        """One event of a watch."""
        run = run_of(document)
        if not deleted:
            yield from self._see(run)
        elif _key(run) in self._runs:
            yield RunChange("deleted", run, self._runs.pop(_key(run)))

    def _see(self, run: FinetuneRun) -> Iterator[RunChange]:
        before = self._runs.get(_key(run))
        if before is not None and before.metadata.uid != run.metadata.uid:  # deleted and made again in between
            yield RunChange("deleted", before)
            before = None
        self._runs[_key(run)] = run
        if before is None or before is self._untold:
            self._untold = None
            yield RunChange("added", run)
        elif before.metadata.resource_version != run.metadata.resource_version:
            yield RunChange("modified", run, before)


def _key(run: FinetuneRun) -> _Key:
    return run.metadata.namespace or "", run.metadata.name
