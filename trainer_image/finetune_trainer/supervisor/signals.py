"""Signals as events of a loop: nothing runs in a handler, so that none can meet a lock that it waits for itself."""

import os
import signal
from typing import Self

STOPPING = (signal.SIGTERM, signal.SIGINT)
_WOKEN = 0
"""Stands in the pipe for a call of `wake`; no signal has this number."""


class Signals:
    """SIGTERM, SIGINT and SIGCHLD since `install`, read from a pipe that `select` can wait for."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    def install(cls) -> Self:
        """Listen. Only in the main thread, and as early as can be: PID 1 hears of no signal before it has a handler.

        A signal that was sent while the process held it blocked, as the image's script has it, is delivered now.
        """
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        heard = (*STOPPING, signal.SIGCHLD)
        for number in heard:
            signal.signal(number, lambda _number, _frame: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
        return cls(reader, writer)

    def take(self) -> list[int]:
        """The signals since the last call, in their order."""
        try:
            return [number for number in os.read(self.reader, 4096) if number != _WOKEN]
        except BlockingIOError:
            return []

    def wake(self) -> None:
        """Let whoever waits for `reader` go on; from any thread."""
        try:
            os.write(self._writer, bytes([_WOKEN]))
        except BlockingIOError:  # full of reasons to wake up already
            return
