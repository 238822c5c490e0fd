"""`finetune compare`: two models side by side on the same pictures and captions."""

import os
import sys
from pathlib import Path

import click

from finetune_sdk.cli.choices import (
    check_target,
    format_option,
    images_option,
    ks_option,
    model_of,
    source_of,
    where_option,
    write_result,
)
from finetune_sdk.cli.local import LocalPath
from finetune_sdk.cli.places import credentials_option, open_world
from finetune_sdk.heavy import importing


@click.command()
@click.argument("first", metavar="FIRST")
@click.argument("second", metavar="SECOND")
@click.option(
    "--data", "-d", required=True, metavar="URI", help="Pictures with captions: a table, a folder or webdataset shards."
)
@format_option
@images_option
@where_option
@ks_option
@click.option("--to", "-o", type=LocalPath(dir_okay=False), help="Also write figures and intervals as JSON here.")
@credentials_option
def command(
    first: str,
    second: str,
    data: str,
    kind: str,
    images: str | None,
    where: tuple[str, ...],
    ks: tuple[int, ...],
    to: Path | None,
    credentials: Path | None,
) -> None:
    """Measure two models on the same queries: recall of both, the difference and its 95 % interval.

    FIRST and SECOND are each a folder, a file or a URI with weights (an open_clip directory, a run's output,
    safetensors, a checkpoint), or open_clip's architecture and tag.

    \b
    finetune compare ViT-B-32-quickgelu:openai output/ --data captions.csv --where split=test
    """
    models = model_of(first, "FIRST"), model_of(second, "SECOND")
    source = source_of(data, kind, images, where)
    if to:
        check_target(to, "--to", (first, second, data))
    with open_world(credentials, "finetune compare") as world:
        with importing():
            from finetune_trainer.display.choose import console_for
            from finetune_trainer.display.comparison import show_comparison
            from finetune_trainer.pipeline.compare import compare_models
            from finetune_trainer.pipeline.documents import encode

        comparison = compare_models(models, source, sorted(set(ks)) or None, world)
    if to:
        write_result(to, encode(comparison))
    show_comparison(comparison, console_for(sys.stdout, os.environ), str(to or ""))
