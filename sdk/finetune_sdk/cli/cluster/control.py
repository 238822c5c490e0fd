"""`kubectl finetune suspend`, `resume` and `retry`."""

import click

from finetune_sdk.cli.cluster.options import Target, cluster_options, name_argument


@click.command()
@name_argument
@cluster_options
def suspend(target: Target, name: str) -> None:
    """Let run NAME save and end. Its pod goes away, its GPU is free, and `resume` goes on from its checkpoint."""
    with target.open() as runs:
        runs.suspend(name)
    click.echo(f"{name} is asked to save and end")


@click.command()
@name_argument
@cluster_options
def resume(target: Target, name: str) -> None:
    """Let the suspended run NAME go on from its checkpoint."""
    with target.open() as runs:
        runs.resume(name)
    click.echo(f"{name} goes on")


@click.command()
@name_argument
@cluster_options
def retry(target: Target, name: str) -> None:
    """Start the failed run NAME again on its output: from its last checkpoint, with fresh retries.

    A spec cannot change while its run exists. Where the spec is the cause, delete the run and apply the mended file.
    """
    with target.open() as runs:
        run = runs.retry(name)
    click.echo(f"{name} starts again, restart {run.spec.lifecycle.restart}")
