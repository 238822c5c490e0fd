"""`finetune shards`: a run's test set as CLIP Benchmark reads it."""

import os
from pathlib import Path

import click

from finetune_sdk.cli.local import LocalPath
from finetune_sdk.cli.places import credentials_option, open_world, uri_of
from finetune_sdk.heavy import importing


@click.command()
@click.argument("output", metavar="URI")
@click.argument("folder", type=LocalPath(file_okay=False))
@credentials_option
def command(output: str, folder: Path, credentials: Path | None) -> None:
    """Write the test set of the run whose output.uri is URI into FOLDER, as webdataset shards for `clip_benchmark`.

    The report of a run names the command that then measures the run's number anew.
    """
    with open_world(credentials, "finetune shards") as world:
        with importing():
            from finetune_trainer.pipeline.shards import write_test_shards

        written = write_test_shards(world, uri_of(output), uri_of(os.fspath(folder)))
    click.echo(f"{written} pictures in {folder}")
