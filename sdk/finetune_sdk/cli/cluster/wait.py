"""`kubectl finetune wait`."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from finetune_sdk.cli.cluster.options import Target, cluster_options, name_argument

if TYPE_CHECKING:
    from finetune_sdk.api.run import FinetuneRun

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType[float]):
    """`90`, `90s`, `30m`, `1h30m`, `2d`: seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; fails with what would work."""
        if isinstance(value, int | float):
            return float(value)
        parts = re.fullmatch(r"(?:\d+(?:\.\d+)?[smhd])+|\d+(?:\.\d+)?", str(value))
        if parts is None:
            self.fail(f"{value!r} is no duration: write 90s, 30m, 2h or 1h30m", param, ctx)
        found = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", str(value))
        return sum(float(number) * _UNITS[unit] for number, unit in found)


@click.command()
@name_argument
@click.option(
    "--for",
    "until",
    default="finished",
    show_default=True,
    metavar="WHAT",
    help="finished; a state such as Running; condition=TYPE or condition=TYPE=False.",
)
@click.option("--timeout", type=Duration(), help="Such as 90s, 30m or 2h.  [default: no end]")
@cluster_options
def command(target: Target, name: str, until: str, timeout: float | None) -> None:
    """Wait until run NAME has ended, or until what --for says. What happens meanwhile is told on stderr.

    \b
    Exit code: 0 where it came so, and for finished: succeeded.
    Where the run failed, that of its reason, as `finetune run` has it: 64 InvalidSpec, 65 DataInvalid
    and WeightsInvalid, 69 StorageUnavailable, 70 TrainerError, 71 Diverged, 74 Hung, 76 GpuUnavailable,
    77 StorageDenied, 78 OutputInUse, 79 OutOfGpuMemory, 80 GateNotMet; 1 for any other.
    124 where the time is over.
    """
    from finetune_sdk.cli.cluster.describe import outcome_line

    with target.open() as runs:
        run = runs.wait(name, until, timeout=timeout, on_change=_teller())
    click.echo(outcome_line(run))


def _teller() -> "Callable[[FinetuneRun], None]":
    """Prints a line whenever state, reason or progress are others than before."""
    last = ""

    def tell(run: "FinetuneRun") -> None:
        nonlocal last
        status = run.status
        done = status.progress.summary if status.progress and status.state == "Running" else None
        line = "  ".join(word for word in (status.state, status.reason, done) if word)
        if line != last:
            click.echo(f"{datetime.now():%H:%M:%S}  {line}", err=True)  # noqa: DTZ005 - the user's own clock
        last = line

    return tell
