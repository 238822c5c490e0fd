"""`finetune evaluate`: the number of any model on any pictures and captions, by itself."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import click
from pydantic import ValidationError

from finetune_sdk.api.base import Schema
from finetune_sdk.api.data import DataSource
from finetune_sdk.api.model import Model
from finetune_sdk.cli.places import credentials_option, open_world, uri_of
from finetune_sdk.errors import UsageError
from finetune_sdk.runfile import load_run

Part = TypeVar("Part", bound=Schema)


@click.command()
@click.option(
    "-f", "--file", "path", type=click.Path(path_type=Path), help="A FinetuneRun: its model, on its test data."
)
@click.option(
    "--model",
    "-m",
    metavar="MODEL",
    help="A folder, a file or a URI with weights: an open_clip directory, a run's output, safetensors, a checkpoint. "
    "With --tag: open_clip's architecture.",
)
@click.option("--tag", "-t", help="open_clip's tag of published weights for the architecture.")
@click.option("--data", "-d", metavar="URI", help="Pictures with captions: a table, a folder or webdataset shards.")
@click.option("--format", "kind", default="auto", show_default=True, help="The format of --data.")
@click.option("--images", metavar="URI", help="The folder that paths in a table count from, if not its own.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only rows that hold VALUE; may be repeated.")
@click.option(
    "--recall-at", "-k", "ks", type=click.IntRange(min=1), multiple=True, help="May be repeated. [default: 1, 5, 10]"
)
@click.option(
    "--to", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Also write CLIP Benchmark's JSON here."
)
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

    \b
    finetune evaluate -f run.yaml
    finetune evaluate --model output/ --data captions.csv --where split=test
    """
    run = load_run(path) if path else None
    wanted = _model(model, tag) if model else run.spec.model if run else None
    source = _source(data, kind, images, where) if data else run.spec.data.test if run else None
    if wanted is None or source is None:
        raise UsageError("give --model and --data, or -f with a run that has data.test")
    with open_world(credentials, "finetune evaluate") as world:
        from finetune_trainer.display.choose import console_for
        from finetune_trainer.display.table import show_evaluation
        from finetune_trainer.pipeline.documents import encode
        from finetune_trainer.pipeline.evaluate import evaluate_by_itself

        evaluation = evaluate_by_itself(wanted, source, sorted(set(ks)) or None, world)
    if to:
        to.write_bytes(encode(evaluation))
    show_evaluation(evaluation, console_for(sys.stdout, os.environ), str(to or ""))


def _model(model: str, tag: str | None) -> Model:
    if tag is not None:
        return _parsed(Model, {"name": model, "weights": {"tag": tag}}, "--model and --tag")
    return _parsed(Model, {"weights": {"uri": uri_of(model)}}, "--model")


def _source(data: str, kind: str, images: str | None, where: tuple[str, ...]) -> DataSource:
    pairs = [pair.partition("=") for pair in where]
    if bad := next((pair for pair in pairs if not pair[1]), None):
        raise UsageError(f"--where {bad[0]}: write COLUMN=VALUE, such as split=test")
    document = {"uri": uri_of(data), "format": kind, "where": {column: value for column, _, value in pairs}}
    return _parsed(DataSource, document | ({"images": uri_of(images)} if images else {}), "--data")


def _parsed(kind: type[Part], document: Mapping[str, object], option: str) -> Part:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{option}: {where}: {first['msg']}, not {first['input']!r}") from None
