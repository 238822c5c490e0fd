"""`finetune report`: the page of any run, also of one that was killed or made elsewhere."""

import os
from pathlib import Path

import click

from finetune_sdk.cli.choices import check_target, write_result
from finetune_sdk.cli.local import LocalPath
from finetune_sdk.cli.places import credentials_from, credentials_option, require_trainer, uri_of


@click.command()
@click.argument("output", metavar="URI")
@click.option(
    "-o",
    "--to",
    type=LocalPath(dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
@credentials_option
def command(output: str, to: Path, credentials: Path | None) -> None:
    """Write the report of the run whose output.uri is URI (a folder, file:// or s3://), done or not."""
    require_trainer()
    check_target(to, "--to")
    from finetune_sdk.storage import open_store
    from finetune_trainer.pipeline.reporting import gather
    from finetune_trainer.pipeline.world import utc_now
    from finetune_trainer.report.render import render_report

    page = render_report(gather(open_store(uri_of(output), credentials_from(credentials)), utc_now))
    write_result(to, page.encode())
    click.echo(os.fspath(to))
