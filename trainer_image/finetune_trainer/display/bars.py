"""Progress as bars, one for each stage, on a terminal."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from finetune_trainer.display.meter import Meter, clock_time, figure_words, per_second
from finetune_trainer.report.text import printable

REFRESH = 4
"""Redraws a second: smooth enough, and next to nothing on a small machine."""
WIDEST_BAR = 24
"""Columns of a bar on a wide terminal; a narrow one leaves the room to the figures."""
FIGURES = 62
"""Columns that a stage's name and figures want beside the bar."""


class Bars:
    """A bar for the stage under way, the finished ones above it. `clock` tells seconds on a steady clock."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._meter: Meter | None = None
        self._task = TaskID(0)
        self._bars = RichProgress(
            TextColumn("{task.description}", style="bold", markup=False, table_column=Column(width=9, no_wrap=True)),
            BarColumn(
                max(6, min(WIDEST_BAR, console.width - FIGURES)),
                complete_style="cyan",
                finished_style="cyan",
                pulse_style="cyan",
            ),
            Words(clock),
            console=console,
            refresh_per_second=REFRESH,
            get_time=clock,
            redirect_stdout=False,  # results go to stdout, which may be a file
        )
        self._bars.start()

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        """End the stage before and begin this one."""
        self._end()
        self._meter = Meter(stage, total, unit, done, self._clock())
        self._task = self._bars.add_task(stage, total=total, completed=done, meter=self._meter, ended=None)

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count; the screen follows at its own pace."""
        if self._meter is not None:
            self._meter.advance(amount, figures, self._clock())
            self._bars.update(self._task, completed=self._meter.done)

    def note(self, message: str) -> None:
        """Print the message above the bars; file names in it may hold anything, also what drives a terminal."""
        self._bars.console.print(Text(printable(message)), soft_wrap=True)

    def close(self) -> None:
        """End the last stage and leave the bars on the screen."""
        self._end()
        self._bars.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self) -> None:
        if self._meter is None:
            return
        self._bars.update(self._task, ended=self._clock())
        if self._meter.total is None:  # a bar without an end would pulse for ever
            done = max(1, self._meter.done)
            self._bars.update(self._task, total=done, completed=done)
        self._meter = None


class Words(ProgressColumn):
    """What stands beside a bar: counts, rate, time left or taken, figures; cut at the terminal's edge."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self._clock = clock

    def render(self, task: Task) -> Text:
        """The text of one stage, which does not move any more once the stage has ended."""
        meter: Meter = task.fields["meter"]
        ended: float | None = task.fields["ended"]
        return Text("  ".join(word for word in beside(meter, self._clock(), ended) if word))


def beside(meter: Meter, now: float, ended: float | None) -> list[str]:
    """'120/300 steps', '4.2 steps/s', 'ETA 0:42', 'loss 2.31'; of an ended stage the time it took."""
    counted = f"{meter.done:,} {meter.unit}" if meter.total is None else f"{meter.done:,}/{meter.total:,} {meter.unit}"
    if ended is not None:
        rate = per_second(meter.mean_rate(ended), meter.unit)
        return [counted, rate, clock_time(ended - meter.started), *figure_words(meter.figures)]
    eta = meter.eta(now)
    left = "" if eta is None else f"ETA {clock_time(eta)}"
    return [counted, per_second(meter.rate(now), meter.unit), left, *figure_words(meter.figures)]
