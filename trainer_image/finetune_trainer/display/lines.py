"""Progress as plain lines, for logs and pipes: each can be read, and grepped, by itself."""

from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from finetune_trainer.display.meter import Meter, clock_time, figure_words, per_second, singular
from finetune_trainer.report.text import printable

EVERY = 10.0
"""Seconds between two lines of one stage."""


class Lines:
    """Writes a line when a stage starts and ends, and about every ten seconds between.

    `clock` tells seconds on a steady clock.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float], every: float = EVERY) -> None:
        self._stream, self._clock, self._every = stream, clock, every
        self._meter: Meter | None = None
        self._written = 0.0

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        """End the stage before and begin this one."""
        self._end()
        now = self._clock()
        self._meter, self._written = Meter(stage, total, unit, done, now), now
        size = [f"{total:,} {unit}"] if total is not None else []
        self._write(stage, "started", *size, *([f"{done:,} done before"] if done else []))

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count, and write a line if the last is old enough."""
        meter, now = self._meter, self._clock()
        if meter is None:
            return
        meter.advance(amount, figures, now)
        if now - self._written >= self._every and meter.done != meter.total:
            self._written = now
            self._write(meter.stage, *standing(meter, now))

    def note(self, message: str) -> None:
        """Write the message on one line of its own; file names in it may hold anything."""
        self._write("note", " ".join(printable(message).split()))

    def close(self) -> None:
        """End the last stage."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self) -> None:
        if self._meter is not None:
            now = self._clock()
            self._write(self._meter.stage, *ending(self._meter, now))
        self._meter = None

    def _write(self, *parts: str) -> None:
        self._stream.write("  ".join(part for part in parts if part) + "\n")
        self._stream.flush()  # a log is read while it is written


def standing(meter: Meter, now: float) -> list[str]:
    """'step 120/300', '40 %', 'loss 2.31', '812 samples/s', 'ETA 0:42'."""
    rate, eta = meter.rate(now), meter.eta(now)
    known = any(name.endswith("_per_second") for name in meter.figures)
    figures = [*figure_words(meter.figures), "" if known else per_second(rate, meter.unit)]
    if meter.total is None:
        return [f"{meter.done:,} {meter.unit}", *figures]
    share = f"{100 * meter.done / max(1, meter.total):.0f} %"
    return [
        f"{singular(meter.unit)} {meter.done}/{meter.total}",
        share,
        *figures,
        "" if eta is None else f"ETA {clock_time(eta)}",
    ]


def ending(meter: Meter, now: float) -> list[str]:
    """'done', '300 steps in 1:12', '4.2 steps/s'; 'stopped' short of the total."""
    whole = meter.total is None or meter.done >= meter.total
    amount = f"{meter.done:,}" if whole else f"{meter.done:,} of {meter.total:,}"
    words = ["done" if whole else "stopped", f"{amount} {meter.unit} in {clock_time(now - meter.started)}"]
    return [*words, per_second(meter.mean_rate(now), meter.unit)]
