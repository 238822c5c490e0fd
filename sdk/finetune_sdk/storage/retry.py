"""When to try again: exponential steps with full jitter, and an end."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Retry:
    """How long a store puts up with failures. Clock, sleep and randomness can be replaced in tests."""

    patience: float = 180.0
    """Seconds from an operation's first failure to giving up. Outlasts a restart of the server."""
    first_patience: float = 20.0
    """The same until the server has answered once: a wrong endpoint should be told soon."""
    step: float = 0.25
    """Upper bound of the first pause in seconds; doubles with each failure."""
    longest: float = 10.0
    """No pause is longer, in seconds."""
    clock: Callable[[], float] = time.monotonic
    """Seconds, monotonic."""
    sleep: Callable[[float], None] = time.sleep
    """Waits for so many seconds."""
    random: Callable[[], float] = random.random
    """Uniform in [0, 1)."""


class Attempts:
    """The failures of one operation so far."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self.failed = 0
        self._first_failure = 0.0

    def pause(self, patience: float) -> bool:
        """Count a failure and wait before the next attempt; False, at once, if patience has run out.

        Full jitter (uniform from 0 to the step) spreads clients that failed together:
        Brooker, "Exponential Backoff And Jitter", 2015.
        """
        now = self._retry.clock()
        if self.failed == 0:
            self._first_failure = now
        bound = min(self._retry.longest, self._retry.step * 2.0 ** min(self.failed, 30))
        pause = bound * self._retry.random()
        self.failed += 1
        if now + pause - self._first_failure > patience:
            return False
        self._retry.sleep(pause)
        return True
