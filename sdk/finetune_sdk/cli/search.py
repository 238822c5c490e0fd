"""`finetune search`: pictures by a sentence."""

from pathlib import Path

import click

from finetune_sdk.cli.choices import MODEL_HELP, model_of, source_of
from finetune_sdk.cli.places import credentials_option, open_world
from finetune_sdk.errors import UsageError
from finetune_sdk.heavy import importing


@click.command()
@click.argument("where", metavar="WHERE")
@click.argument("sentence", metavar="SENTENCE")
@click.option("--model", "-m", required=True, metavar="MODEL", help=f"{MODEL_HELP}.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many pictures to name.")
@credentials_option
def command(where: str, sentence: str, model: str, top: int, credentials: Path | None) -> None:
    """Name the pictures of WHERE that are nearest to SENTENCE: rank, similarity and path, best first.

    WHERE is a folder of pictures with the folders in it, or what `finetune encode` made of one, so that a large folder
    is encoded once.

    \b
    finetune search -m output/ pictures/ "a dog on a beach"
    finetune search -m output/ pictures.npy "a dog on a beach" --top 3
    """
    if not sentence.strip():
        raise UsageError('SENTENCE is empty: write what the pictures should show, such as "a dog on a beach"')
    wanted = model_of(model, "--model")
    source = source_of(where, "auto", None, (), "WHERE")
    with open_world(credentials, "finetune search") as world:
        with importing():
            from finetune_trainer.pipeline.search import search
            from finetune_trainer.report.text import printable

        found = search(wanted, source, where, sentence, top, world)
    places = len(str(len(found)))
    for rank, match in enumerate(found, start=1):
        name = printable(" ".join(match.id.splitlines()))
        click.echo(f"{rank:>{places}}  {match.similarity:+.4f}  {name}")
