"""`kubectl finetune report`."""

import sys
import webbrowser
from pathlib import Path

import click

from finetune_sdk.cli.cluster.options import (
    Target,
    cluster_options,
    credentials_in,
    credentials_option,
    endpoint_option,
    name_argument,
)
from finetune_sdk.cli.local import LocalPath


@click.command()
@name_argument
@click.option(
    "-o",
    "--to",
    type=LocalPath(dir_okay=False, allow_dash=True),
    default=Path("report.html"),
    show_default=True,
    help="The file to write; - is standard output.",
)
@click.option("--open", "show", is_flag=True, help="Show it in the browser, too.")
@endpoint_option
@credentials_option
@cluster_options
def command(target: Target, name: str, to: Path, show: bool, endpoint: str | None, credentials: Path | None) -> None:
    """Fetch the report of run NAME from its storage, with the keys of the run's Secret."""
    from finetune_sdk.errors import UsageError

    if show and str(to) == "-":
        raise UsageError("--open needs a file: give -o FILE, not -")
    with target.open() as runs:
        page = runs.report(name, endpoint=endpoint, credentials=credentials_in(credentials))
    if str(to) == "-":
        sys.stdout.buffer.write(page)
        return
    try:
        to.write_bytes(page)
    except OSError as error:
        raise UsageError(f"{to} cannot be written ({error.strerror}): give another file with -o") from None
    click.echo(str(to))
    if show and not webbrowser.open(to.absolute().as_uri()):
        click.echo(f"no browser was found: open {to} yourself", err=True)
