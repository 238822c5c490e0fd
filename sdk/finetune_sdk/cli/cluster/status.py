"""`kubectl finetune status`."""

from datetime import UTC, datetime

import click

from finetune_sdk.cli.cluster.options import Target, cluster_options, name_argument


@click.command()
@name_argument
@click.option(
    "-o", "--output", type=click.Choice(["wide", "json", "yaml", "name"]), help="wide: Job, pod, image, times."
)
@cluster_options
def command(target: Target, name: str, output: str | None) -> None:
    """Tell how run NAME stands: state, reason and message, progress, figures, conditions, and what to do next."""
    from finetune_sdk.cli.cluster import tables
    from finetune_sdk.cli.cluster.describe import describe

    with target.open() as runs:
        run = runs.get(name)
    if output == "json":
        click.echo(tables.as_json(run))
    elif output == "yaml":
        click.echo(tables.as_yaml(run))
    elif output == "name":
        click.echo(tables.resource_name(run))
    else:
        click.echo(describe(run, datetime.now(UTC), wide=output == "wide"))
