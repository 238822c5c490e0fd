"""`finetune status`: how far a run is, from what it has left in storage."""

import os
import sys
from pathlib import Path

import click

from finetune_sdk.cli.places import credentials_from, credentials_option, require_trainer, uri_of


@click.command()
@click.argument("output", metavar="URI")
@credentials_option
def command(output: str, credentials: Path | None) -> None:
    """Tell how far the run is whose output.uri is URI (a folder, file:// or s3://), or how it ended.

    Also of a run that was killed or made elsewhere: everything is read from its output.
    """
    require_trainer()
    from finetune_sdk.storage import open_store
    from finetune_trainer.display.choose import console_for
    from finetune_trainer.display.table import show_status
    from finetune_trainer.pipeline.status import read_status

    status = read_status(open_store(uri_of(output), credentials_from(credentials)))
    show_status(status, console_for(sys.stdout, os.environ))
