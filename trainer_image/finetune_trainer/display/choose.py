"""Which display fits where the output goes."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console

from finetune_trainer.display.bars import Bars
from finetune_trainer.display.lines import Lines
from finetune_trainer.progress import Progress

PLAIN_WIDTH = 80
"""Columns of a table that goes into a file or a pipe."""


class Display(Progress, Protocol):
    """Shows progress until it is closed; as a context manager it closes itself."""

    def close(self) -> None:
        """Show the end of the last stage and leave the terminal as it was."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def choose_display(stream: TextIO, env: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> Display:
    """Bars where `stream` (stderr) is a terminal that can redraw, else lines."""
    if stream.isatty() and env.get("TERM") != "dumb":
        return Bars(console_for(stream, env), clock)
    return Lines(stream, clock)


def console_for(stream: TextIO, env: Mapping[str, str]) -> Console:
    """Where tables go: in colour on a terminal unless NO_COLOR is set, 80 columns and plain elsewhere."""
    terminal = stream.isatty()
    columns = env.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and int(columns) > 0 else None
    return Console(
        file=stream,
        width=width or (None if terminal else PLAIN_WIDTH),
        force_terminal=terminal,
        no_color=bool(env.get("NO_COLOR")) or not terminal,
        markup=False,
        emoji=False,
        highlight=False,
        _environ=env,
    )
