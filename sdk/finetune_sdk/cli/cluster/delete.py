"""`kubectl finetune delete`."""

import sys
from pathlib import Path

import click

from finetune_sdk.cli.cluster.options import (
    Target,
    cluster_options,
    credentials_in,
    credentials_option,
    endpoint_option,
    names_argument,
)

SHOWN = 5
"""Objects that are named one by one."""


@click.command()
@names_argument
@click.option("--artifacts", is_flag=True, help="Also what the run has stored: model, report, checkpoints.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@endpoint_option
@credentials_option
@cluster_options
def command(
    target: Target,
    names: tuple[str, ...],
    artifacts: bool,
    yes: bool,
    endpoint: str | None,
    credentials: Path | None,
) -> None:
    """Delete runs with their Jobs and pods. What they have stored stays, unless --artifacts is given.

    With --artifacts the objects under output.uri are deleted once the run's pods are gone, and only where owner.json
    there names this run; objects that no run writes stay. Nothing at all is deleted where the output is another run's.
    """
    with target.open() as runs:
        for name in names:
            run = runs.get(name)
            what = f" and all that it stored under {run.spec.output.uri}" if artifacts else ""
            _confirm(f"Delete run {name} in namespace {run.metadata.namespace}{what}?", yes)
            deleted = runs.delete(name, artifacts=artifacts, endpoint=endpoint, credentials=credentials_in(credentials))
            stored = f" and {deleted.objects} stored objects" if artifacts else ""
            click.echo(f"{name}{stored} deleted")
            _tell_left(deleted.left)


def _confirm(question: str, yes: bool) -> None:
    from finetune_sdk.errors import UsageError

    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can be asked here: give --yes")
    click.confirm(question, abort=True, err=True)


def _tell_left(left: tuple[str, ...]) -> None:
    if left:
        more = f"\n  and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
        click.echo("left alone, since no run of this output writes such objects:", err=True)
        click.echo("\n".join(f"  {uri}" for uri in left[:SHOWN]) + more, err=True)
