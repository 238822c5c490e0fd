"""`finetune evaluate`: the number of any model on any pictures and captions, by itself."""

import os
import sys
from pathlib import Path

import click

from finetune_sdk.cli.choices import (
    MODEL_HELP,
    check_alone,
    check_target,
    format_option,
    images_option,
    ks_option,
    model_of,
    source_companions,
    source_of,
    where_option,
    write_result,
)
from finetune_sdk.cli.local import LocalPath
from finetune_sdk.cli.places import credentials_option, open_world
from finetune_sdk.errors import UsageError
from finetune_sdk.heavy import importing
from finetune_sdk.runfile import load_run


@click.command()
@click.option(
    "-f", "--file", "path", type=click.Path(path_type=Path), help="A FinetuneRun: its model, on its test data."
)
@click.option("--model", "-m", metavar="MODEL", help=f"{MODEL_HELP}. With --tag: the architecture.")
@click.option("--tag", "-t", help="open_clip's tag of published weights for the architecture.")
@click.option("--data", "-d", metavar="URI", help="Pictures with captions: a table, a folder or webdataset shards.")
@format_option
@images_option
@where_option
@ks_option
@click.option("--to", "-o", type=LocalPath(dir_okay=False), help="Also write CLIP Benchmark's JSON here.")
@credentials_option
def command(
    path: Path | None,
    model: str | None,
    tag: str | None,
    data: str | None,
    kind: str,
    images: str | None,
    where: tuple[str, ...],
    ks: tuple[int, ...],
    to: Path | None,
    credentials: Path | None,
) -> None:
    """Measure retrieval recall, equal to `clip_benchmark eval --no_amp`.

    Of a file: its data.test, or the part of its data.source that a run holds out as test, at its evaluation.recallAt.
    --model, --data or --recall-at stands in place of the file's.

    \b
    finetune evaluate -f run.yaml
    finetune evaluate --model output/ --data captions.csv --where split=test
    """
    if model is None:
        check_alone("--model", {"--tag": tag})
    if data is None:
        check_alone("--data", source_companions(kind, images, where))
    run = load_run(path) if path else None
    wanted = model_of(model, "--model", tag) if model is not None else run.spec.model if run else None
    measured = source_of(data, kind, images, where) if data is not None else run.spec.data if run else None
    if wanted is None or measured is None:
        raise UsageError("give --model and --data, or a run's file with -f")
    if to:
        check_target(to, "--to", (model, data, os.fspath(path) if path else None))
    seed = run.spec.training.seed if run else 0
    in_file = run.spec.evaluation.recall_at if run else None
    with open_world(credentials, "finetune evaluate") as world:
        with importing():
            from finetune_trainer.display.choose import console_for
            from finetune_trainer.display.table import show_evaluation
            from finetune_trainer.pipeline.documents import encode
            from finetune_trainer.pipeline.evaluate import RECALL_AT, evaluate_by_itself

        asked, field = (in_file, "evaluation.recallAt") if in_file and not ks else (sorted(set(ks)) or None, RECALL_AT)
        evaluation = evaluate_by_itself(wanted, measured, asked, world, seed, field)
    if to:
        write_result(to, encode(evaluation))
    show_evaluation(evaluation, console_for(sys.stdout, os.environ), str(to or ""))
