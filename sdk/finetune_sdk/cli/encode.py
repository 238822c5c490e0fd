"""`finetune encode`: pictures or texts as vectors."""

from pathlib import Path

import click

from finetune_sdk.cli.choices import (
    MODEL_HELP,
    check_target,
    format_option,
    images_option,
    model_of,
    source_of,
    where_option,
)
from finetune_sdk.cli.local import LocalPath
from finetune_sdk.cli.places import credentials_option, open_world, uri_of
from finetune_sdk.errors import UsageError
from finetune_sdk.heavy import importing

ENDINGS = (".npy", ".parquet")


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option("--model", "-m", required=True, metavar="MODEL", help=f"{MODEL_HELP}.")
@click.option(
    "--to",
    "-o",
    required=True,
    type=LocalPath(dir_okay=False),
    help="The file to write: .npy, with its ids in .ids.json beside it, or .parquet with the columns id and vector.",
)
@click.option("--texts", is_flag=True, help="SOURCE holds texts: one a line, or a column of a table.")
@click.option("--column", help="With --texts, the column of a .csv, .tsv, .jsonl or .parquet. [default: the captions']")
@format_option
@images_option
@where_option
@credentials_option
def command(
    source: str,
    model: str,
    to: Path,
    texts: bool,
    column: str | None,
    kind: str,
    images: str | None,
    where: tuple[str, ...],
    credentials: Path | None,
) -> None:
    """Turn the pictures or the texts of SOURCE into vectors of length 1, float32, a row each.

    SOURCE is a picture, a folder of pictures with the folders in it, pictures with captions as `finetune evaluate
    --data` takes them, or with --texts a text file or a table.

    \b
    finetune encode -m output/ pictures/ -o pictures.npy
    finetune encode -m output/ --texts queries.txt -o queries.parquet
    """
    _check(to, texts, column, kind != "auto" or images is not None or bool(where))
    wanted = model_of(model, "--model")
    given = source_of(source, kind, images, where, "SOURCE")
    check_target(to, "--to", (source, model))
    with open_world(credentials, "finetune encode") as world:
        with importing():
            from finetune_trainer.pipeline.encode import encode_source, encode_text_file
            from finetune_trainer.pipeline.vectors import write_vectors

        if texts:
            vectors = encode_text_file(wanted, uri_of(source), column, "SOURCE", world)
        else:
            vectors = encode_source(wanted, given, source, "SOURCE", world)
        write_vectors(vectors, to)
    rows, width = vectors.rows.shape
    click.echo(f"{to}: {rows:,} {vectors.origin.kind}, {width:,} numbers each")


def _check(to: Path, texts: bool, column: str | None, about_pictures: bool) -> None:
    if to.suffix.lower() not in ENDINGS:
        raise UsageError(f"--to {to}: vectors are written as {' or '.join(ENDINGS)}, by the file's ending")
    if column is not None and not texts:
        raise UsageError(f"--column {column}: it names a table's texts, so --texts goes with it")
    if about_pictures and texts:
        raise UsageError("--format, --images and --where are about pictures: leave them out with --texts")
