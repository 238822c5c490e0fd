"""`finetune shards`: a run's test set as CLIP Benchmark reads it."""

import os
import sys
from pathlib import Path

import click

from finetune_sdk.cli.places import cache_root, credentials_from, credentials_option, require_trainer, uri_of


@click.command()
@click.argument("output", metavar="URI")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@credentials_option
def command(output: str, folder: Path, credentials: Path | None) -> None:
    """Write the test set of the run whose output.uri is URI into FOLDER, as webdataset shards for `clip_benchmark`.

    The report of a run names the command that then measures the run's number anew.
    """
    require_trainer()
    from finetune_trainer.display.choose import choose_display
    from finetune_trainer.pipeline.shards import write_test_shards
    from finetune_trainer.pipeline.world import World

    with choose_display(sys.stderr, os.environ) as display:
        world = World(
            env=os.environ,
            progress=display,
            credentials=credentials_from(credentials),
            cache_root=cache_root(),
            command="finetune shards",
        )
        written = write_test_shards(world, uri_of(output), uri_of(os.fspath(folder)))
    click.echo(f"{written} pictures in {folder}")
