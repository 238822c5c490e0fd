"""`kubectl finetune logs`."""

import click

from finetune_sdk.cli.cluster.options import Target, cluster_options, name_argument


@click.command()
@name_argument
@click.option("-f", "--follow", is_flag=True, help="Lines as they come, over all attempts, until the run ends.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of what is there.")
@cluster_options
def command(target: Target, name: str, follow: bool, tail: int | None) -> None:
    """Print the trainer's log of run NAME, of its newest pod. Where the next pod begins is told on stderr."""
    pod = ""
    with target.open() as runs:
        for line in runs.logs(name, follow=follow, tail=tail):
            if pod and line.pod != pod:
                click.echo(f"--- the next attempt, pod {line.pod} ---", err=True)
            pod = line.pod
            click.echo(line.text)
