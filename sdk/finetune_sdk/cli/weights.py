"""`finetune weights`: published weights into your own storage."""

from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from finetune_sdk.api.types import Uri
from finetune_sdk.cli.models import load_catalogue, meant, some_pairs
from finetune_sdk.cli.places import credentials_option, open_world, uri_of
from finetune_sdk.errors import UsageError
from finetune_sdk.heavy import importing


@click.group()
def command() -> None:
    """Published weights into your own storage."""


@command.command()
@click.argument("model", metavar="ARCHITECTURE:TAG")
@click.argument("place", metavar="URI")
@credentials_option
def fetch(model: str, place: str, credentials: Path | None) -> None:
    """Copy a published model into the folder ARCHITECTURE/TAG below URI (a folder, file:// or s3://).

    For clusters that reach no model hub. The copy holds all that opens it, is opened again from there and compared,
    and the lines for run.yaml that use it are printed. `finetune models` lists architectures and tags.

    \b
    finetune weights fetch ViT-B-32-quickgelu:openai s3://models/published
    """
    name, tag = parse_model(model)
    uri = f"{uri_of(place).rstrip('/')}/{name}/{tag}/"
    try:
        TypeAdapter(Uri).validate_python(uri)
    except ValidationError:
        raise UsageError(f"URI {place!r} is neither a folder nor file:///FOLDER nor s3://BUCKET/FOLDER") from None
    with open_world(credentials, f"finetune weights fetch {model} {place}") as world:
        with importing():
            from finetune_trainer.pipeline.mirror import mirror

        mirror(name, tag, uri, world)
    click.echo(lines_for_run(name, uri))


def parse_model(typed: str) -> tuple[str, str]:
    """Architecture and tag of ARCHITECTURE:TAG. Raises UsageError, with the pairs that may be meant."""
    name, _, tag = typed.partition(":")
    if name and tag:
        return name, tag
    entries, word = load_catalogue(), tag or name
    pairs = [
        f"{entry['name']}:{known}" for entry in entries for known in entry["tags"] if word in (entry["name"], known)
    ]
    told = f"such as {some_pairs(pairs)}" if pairs else meant(name, entries)
    raise UsageError(f"{typed!r} is not ARCHITECTURE:TAG: {told}")


def lines_for_run(name: str, uri: str) -> str:
    """The part of run.yaml that begins from the copy."""
    quoted = uri.replace("'", "''")
    return f"spec:\n  model:\n    name: {name}\n    weights:\n      uri: '{quoted}'"
