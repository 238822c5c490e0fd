"""A program at a terminal, with somebody who answers its questions."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Talk:
    """How it went."""

    code: int
    out: str
    """stdout, which is no terminal."""
    shown: str
    """What the terminal showed: questions, and what was typed and echoed."""


def at_a_terminal(command: Sequence[str], answers: Mapping[str, str], *, env: Mapping[str, str], folder: Path) -> Talk:
    """Run `command`; whenever the terminal shows a key of `answers`, its value is typed, once each."""
    own, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=dict(env), cwd=folder, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = _answer(own, process, dict(answers))
        assert process.stdout is not None
        out = process.stdout.read().decode()
        code = process.wait(PATIENCE_SECONDS)
    os.close(own)
    return Talk(code, out, shown)


def _answer(own: int, process: "subprocess.Popen[bytes]", waiting: dict[str, str]) -> str:
    shown, deadline = "", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        ready, _, _ = select.select([own], [], [], 0.05)
        if ready:
            try:
                part = os.read(own, 4096)
            except OSError:  # Linux says so where the other side is closed
                return shown
            shown += part.decode(errors="replace")
            for question in [one for one in waiting if one in shown]:
                os.write(own, f"{waiting.pop(question)}\n".encode())
        elif process.poll() is not None:
            return shown
    process.kill()
    raise TimeoutError(f"still running; the terminal showed: {shown}")
