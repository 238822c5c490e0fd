"""`kubectl finetune list`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from finetune_sdk.cli.cluster.options import Target, cluster_options

if TYPE_CHECKING:
    from finetune_sdk.api.run import FinetuneRun

STATES = ("Pending", "Queued", "Starting", "Running", "Retrying", "Suspending", "Suspended", "Succeeded", "Failed")
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
COLUMNS = ("NAME", "STATE", "REASON", "PROGRESS", "BEFORE", "AFTER", "GAIN", "AGE")
WIDE = ("QUEUE", "MODEL", "JOB", "ETA", "ATTEMPTS")


@click.command()
@click.option("-A", "--all-namespaces", is_flag=True, help="Of all namespaces.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only runs in this state.")
@click.option("-l", "--selector", metavar="LABELS", help="Only runs with these labels, such as team=vision.")
@click.option("-o", "--output", type=click.Choice(["wide", "json", "yaml", "name"]), help="In place of the table.")
@cluster_options
def command(target: Target, all_namespaces: bool, state: str | None, selector: str | None, output: str | None) -> None:
    """List runs: state, reason, progress, and recall before and after; GAIN is in percentage points."""
    from finetune_sdk.cli.cluster import tables
    from finetune_sdk.client.goals import STATES as TYPED

    wanted = next((one for one in TYPED if one == state), None)
    with target.open() as runs:
        found = runs.list(all_namespaces=all_namespaces, state=wanted, labels=selector)
        place = "in any namespace" if all_namespaces else f"in namespace {runs.namespace}"
    if output == "json":
        click.echo(tables.as_json(found))
    elif output == "yaml":
        click.echo(tables.as_yaml(found))
    elif output == "name":
        for run in found:
            click.echo(tables.resource_name(run))
    elif not found:
        click.echo(f"no {'such ' if state or selector else ''}runs {place}", err=True)
    else:
        click.echo(runs_table(found, datetime.now(UTC), wide=output == "wide", namespaces=all_namespaces))


def runs_table(runs: "Sequence[FinetuneRun]", now: datetime, *, wide: bool, namespaces: bool) -> str:
    """The table."""
    from finetune_sdk.cli.cluster.tables import table

    columns = [*(["NAMESPACE"] if namespaces else []), *COLUMNS, *(WIDE if wide else ())]
    return table(columns, [_row(run, now, wide=wide, namespaces=namespaces) for run in runs])


def _row(run: "FinetuneRun", now: datetime, *, wide: bool, namespaces: bool) -> list[str]:
    from finetune_sdk.cli.cluster.tables import age, duration, percent, points

    status, figures = run.status, run.status.evaluation
    cells = [run.metadata.namespace or ""] if namespaces else []
    cells += [run.metadata.name, status.state, status.reason, (status.progress and status.progress.summary) or ""]
    cells += [percent(figures.before), percent(figures.after), points(figures.gain)] if figures else ["", "", ""]
    cells.append(age(run, now))
    if wide:
        left = status.progress.eta_seconds if status.progress else None
        cells += [run.metadata.labels.get(QUEUE_LABEL, ""), run.spec.model.name or "", status.job_name or ""]
        cells += ["" if left is None else duration(left), str(status.attempts)]
    return cells
