"""When to end a worker that does not end, or do anything, by itself. Pure: a steady clock's seconds are arguments."""

from typing import Literal

MOST_AT_ONCE = 5.0
"""Seconds of silence that one look may count: a longer gap means that this process was stopped too, with its worker."""
STARTUP_SECONDS = 300.0
"""Of silence that are allowed before the first stage at least: torch from a cold disk, weights from far away."""
EXIT_SECONDS = 30.0
"""For a worker that has said how it ended to be gone."""
SPARE_SECONDS = 10.0
"""Of the grace period, for the supervisor's own words after it gave up on the worker."""

Verdict = Literal["hung", "late", "over"]
"""No progress; asked to stop, and not done in time; has said how it ended, and is still there."""


class Watchdog:
    """One worker. `deadline`: most seconds without a word; `grace`: between SIGTERM and the kubelet's SIGKILL."""

    def __init__(self, deadline: float, grace: float, now: float) -> None:
        self._deadline = deadline
        self.saving_seconds = max(grace - SPARE_SECONDS, grace / 2)
        """How long the worker may take to save after SIGTERM."""
        self._looked = now
        self._silent = 0.0
        self._has_begun = False
        self._stopped_at: float | None = None
        self._said_at: float | None = None

    def heard(self, *, stage: bool = False) -> None:
        """The worker did something; `stage`: it has begun one."""
        self._silent = 0.0
        self._has_begun = self._has_begun or stage

    def stopped(self, now: float) -> None:
        """The worker was asked to stop; the first call counts."""
        self._stopped_at = now if self._stopped_at is None else self._stopped_at

    def said(self, now: float) -> None:
        """The worker has said how it ended; the first call counts."""
        self._said_at = now if self._said_at is None else self._said_at

    def look(self, now: float) -> Verdict | None:
        """Whether the worker must be ended, and why. To be called about every second."""
        self._silent += min(now - self._looked, MOST_AT_ONCE)
        self._looked = now
        if self._said_at is not None:
            return "over" if now - self._said_at > EXIT_SECONDS else None
        if self._stopped_at is not None:
            return "late" if now - self._stopped_at > self.saving_seconds else None
        return "hung" if self._silent > self.deadline else None

    @property
    def deadline(self) -> float:
        """The seconds of silence that are allowed now."""
        return self._deadline if self._has_begun else max(self._deadline, STARTUP_SECONDS)
