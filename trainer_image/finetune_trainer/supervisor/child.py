"""The worker's process: started, heard, signalled, taken in."""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress

from finetune_trainer.supervisor.channel import CHANNEL_VARIABLE, Line, Lines

READ_BYTES = 1 << 17
"""More than a pipe holds: after the worker's end one read has all that it left."""
LONGEST_LINE = 16 << 10
"""Bytes; what is longer is cut there, as container runtimes cut it in the log."""
WORKER = "finetune_trainer.supervisor.worker"


class Text:
    """Lines of text from bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes; with no data, at the end, what is left."""
        *whole, rest = (self._rest + data).split(b"\n")
        if rest and (not data or len(rest) > LONGEST_LINE):
            whole, rest = [*whole, rest], b""
        self._rest = rest
        return [line.decode("utf-8", "replace") for line in whole]


class Child:
    """A worker. `channel` and `output` are descriptors to wait for, None once nothing more comes from there."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Start it: its lines come over a pipe of their own, what it and its libraries print over another.

        It gets a process group of its own: a terminal's Ctrl-C then reaches the supervisor alone, which passes it on.
        """
        self.channel: int | None
        self.output: int | None
        self.channel, channel = _pipe()
        self.output, output = _pipe()
        self._lines, self._text = Lines(), Text()
        self.status: int | None = None
        """Its wait status, once it is over."""
        os.set_inheritable(channel, True)
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", WORKER],
            {**env, CHANNEL_VARIABLE: str(channel)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setpgroup=0,
            setsigmask=[],
            setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE],
        )
        os.close(channel)
        os.close(output)

    def send(self, number: int) -> None:
        """A signal, as long as it lives."""
        if self.status is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it and what it has started."""
        if self.status is None:
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Take in every child that has ended, orphans too, as PID 1 must; whether the worker is over."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.pid:
                    self.status = ended[1]
        return self.status is not None

    def hear(self) -> list[Line]:
        """What it said over the channel since the last call."""
        data, self.channel = _read(self.channel)
        return self._lines.feed(data)

    def read(self) -> list[str]:
        """The lines that it printed since the last call."""
        data, self.output = _read(self.output)
        return self._text.feed(data) if data else []

    def close(self) -> list[str]:
        """Once it is over and all is read; what it printed last without a line's end."""
        for descriptor in (self.channel, self.output):
            if descriptor is not None:
                os.close(descriptor)
        self.channel = self.output = None
        return self._text.feed(b"")


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return reader, writer


def _read(descriptor: int | None) -> tuple[bytes, int | None]:
    """What there is to read, and the descriptor; it is closed, and None, at the end of the stream."""
    if descriptor is None:
        return b"", None
    try:
        data = os.read(descriptor, READ_BYTES)
    except BlockingIOError:
        return b"", descriptor
    if not data:
        os.close(descriptor)
        return b"", None
    return data, descriptor
