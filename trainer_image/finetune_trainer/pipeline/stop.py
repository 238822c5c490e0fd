"""Stopping in order: the first SIGTERM or Ctrl-C asks the run to save and end, a second Ctrl-C ends it at once."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from finetune_sdk.errors import Stopped

SECOND_INTERRUPT = 130
"""The shell's code for a program that Ctrl-C ended: 128 + SIGINT."""


class StopFlag:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.requested = False
        self.signal_name = ""

    def stopped(self, what_now: str) -> Stopped:
        """The error that ends a run which was asked to stop."""
        return Stopped(f"stopped by {self.signal_name or 'request'}; {what_now}")


@contextmanager
def stop_on_signals(flag: StopFlag, tell: Callable[[str], None]) -> Iterator[None]:
    """Set `flag` on SIGTERM and SIGINT while the block runs; `tell` gets one sentence, in the signal handler."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if flag.requested and number == signal.SIGINT:
            # Storage may be stuck and threads may hang: leave without asking anybody.
            os._exit(SECOND_INTERRUPT)
        if not flag.requested:
            flag.requested = True
            flag.signal_name = signal.Signals(number).name
            again = "; Ctrl-C once more ends at once" if number == signal.SIGINT else ""
            tell(f"{flag.signal_name}: saving, then ending{again}")

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
