"""The operator's own queue: each run at most once in it and once at work, with back-off and wake-ups by run.

kopf tells of changes and never again; deadlines and failed passes need more.
"""

import asyncio
import contextlib
import heapq
import random
from collections.abc import Callable

from finetune_operator.model import RunKey

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 60.0
LEAST_SECONDS = 1.0
"""Between passes over one run that each want the next one at once, beyond the first."""
SLACK = 64
"""Superseded wishes that are kept besides as many as there are runs that wait, twice over."""


class Queue:
    """Runs that wait for a pass. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._jitter = jitter
        self._due: dict[RunKey, float] = {}
        self._heap: list[tuple[float, RunKey]] = []
        self._working: set[RunKey] = set()
        self._again: dict[RunKey, float] = {}
        self._failures: dict[RunKey, int] = {}
        self._at_once: set[RunKey] = set()
        """Runs whose last pass wanted another at once."""
        self._turn = asyncio.Lock()
        """Of the one worker that waits for all: else each change would wake every idle one."""
        self._changed = asyncio.Event()
        """Whether the first in the heap is another."""
        self._closed = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: RunKey, delay: float = 0.0) -> None:
        """Ask for a pass over `key` in `delay` seconds; an earlier one that is asked for stands."""
        self._add_at(key, self._clock() + delay)

    def _add_at(self, key: RunKey, at: float) -> None:
        if key in self._working:
            self._again[key] = min(at, self._again.get(key, at))
        elif key not in self._due or at < self._due[key]:
            self._due[key] = at
            heapq.heappush(self._heap, (at, key))
            self._forget_superseded()
            if self._heap[0] == (at, key):
                self._changed.set()

    def _forget_superseded(self) -> None:
        """Wishes for a far deadline, one of each pass: they would be kept until one that stands comes before them."""
        if len(self._heap) > SLACK + 2 * len(self._due):
            self._heap = [(at, key) for key, at in self._due.items()]
            heapq.heapify(self._heap)

    def follow(self, key: RunKey, delay: float | None) -> None:
        """After a pass over `key`: another in `delay` seconds; None: once there is news.

        At once it comes but once in a row: a run that always wants to be next must not keep out the others.
        """
        again = key in self._at_once
        if delay is None or delay > 0:
            self._at_once.discard(key)
        else:
            self._at_once.add(key)
            delay = LEAST_SECONDS if again else 0.0
        if delay is not None:
            self.add(key, delay)

    def close(self) -> None:
        """Hand out nothing more."""
        self._closed = True
        self._changed.set()

    async def get(self) -> RunKey | None:
        """The next run that is due; it is at work until `done` or `failed`. None once the queue is closed."""
        async with self._turn:
            while not self._closed:
                self._changed.clear()
                delay = self._next()
                if isinstance(delay, RunKey):
                    return delay
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):  # wait_for would make a task each time
                        await self._changed.wait()
        return None

    def _next(self) -> RunKey | float | None:
        """A run that is due; else the seconds until one is; None where none is."""
        while self._heap:
            at, key = self._heap[0]
            if self._due.get(key) != at:  # superseded by an earlier wish
                heapq.heappop(self._heap)
            elif at > self._clock():
                return at - self._clock()
            else:
                heapq.heappop(self._heap)
                del self._due[key]
                self._working.add(key)
                return key
        return None

    def done(self, key: RunKey) -> None:
        """The pass is over; what came for the run meanwhile is due."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: RunKey, at_least: float = 0.0) -> float:
        """The pass failed: the next comes after a back-off that doubles, and is returned in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0**failures)
        delay = max(at_least, backoff * (0.5 + self._jitter() / 2))
        self._again.pop(key, None)
        self._release(key)
        self.add(key, delay)
        return delay

    def _release(self, key: RunKey) -> None:
        self._working.discard(key)
        if (at := self._again.pop(key, None)) is not None:
            self._add_at(key, at)
