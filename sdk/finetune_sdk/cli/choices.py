"""What several commands take: a model, a source of pictures and a file to write, as a user types them."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import click
from pydantic import ValidationError

from finetune_sdk.api.base import Schema
from finetune_sdk.api.data import DataSource
from finetune_sdk.api.model import Model
from finetune_sdk.cli.models import load_catalogue, some_pairs
from finetune_sdk.cli.places import uri_of
from finetune_sdk.errors import UsageError
from finetune_sdk.mistakes import in_words
from finetune_sdk.uri import uri_to_path

Part = TypeVar("Part", bound=Schema)
Command = TypeVar("Command", bound=Callable[..., object])

_OF_A_RUN = re.compile(
    r"(run|owner|progress|prepare|select|result)\.json|metrics\.jsonl|"
    r"(evaluation|model|checkpoints|metrics|logs|tensorboard)/.*"
)
"""What a run keeps in its output and reads again; not its report, which may be written anew."""

MODEL_HELP = (
    "A folder, a file or a URI with weights: an open_clip directory, a run's output, safetensors, a checkpoint; "
    "or open_clip's architecture and tag, as ViT-B-32-quickgelu:openai"
)
"""What `model_of` takes."""

format_option: Callable[[Command], Command] = click.option(
    "--format", "kind", default="auto", show_default=True, help="The format of the data."
)
images_option: Callable[[Command], Command] = click.option(
    "--images", metavar="URI", help="The folder that paths in a table count from, if not its own."
)
where_option: Callable[[Command], Command] = click.option(
    "--where", multiple=True, metavar="COLUMN=VALUE", help="Only rows that hold VALUE; may be repeated."
)
ks_option: Callable[[Command], Command] = click.option(
    "--recall-at", "-k", "ks", type=click.IntRange(min=1), multiple=True, help="May be repeated. [default: 1, 5, 10]"
)


def model_of(typed: str, option: str, tag: str | None = None) -> Model:
    """The model that `option` names. `tag`: `typed` is the architecture whose published weights it names.

    NAME:TAG is published weights too, unless there is a file or a folder of that name. Raises UsageError, also for an
    architecture whose tag was forgotten.
    """
    if tag is not None:
        return _parsed(Model, {"name": typed, "weights": {"tag": tag}}, f"{option} and --tag")
    if "://" not in typed and not Path(typed).exists():
        name, colon, published = typed.partition(":")
        if colon:
            return _parsed(Model, {"name": name, "weights": {"tag": published}}, option)
        _check_no_architecture(typed, option)
    return _parsed(Model, {"weights": {"uri": uri_of(typed, option)}}, option)


def source_of(typed: str, kind: str, images: str | None, where: tuple[str, ...], option: str = "--data") -> DataSource:
    """The source that `option` and its companions name. Raises UsageError."""
    pairs = [pair.partition("=") for pair in where]
    if bad := next((pair for pair in pairs if not pair[0] or not pair[1]), None):
        raise UsageError(f"--where {''.join(bad)}: write COLUMN=VALUE, such as split=test")
    columns = [column for column, _, _ in pairs]
    if again := next((column for column in columns if columns.count(column) > 1), None):
        values = " and ".join(value for column, _, value in pairs if column == again)
        raise UsageError(f"--where {again}=: it is given with {values}, and a row holds one value: give one of them")
    document = {"uri": uri_of(typed, option), "format": kind, "where": {column: value for column, _, value in pairs}}
    if images is not None:
        document["images"] = uri_of(images, "--images")
    return _parsed(DataSource, document, option)


def check_alone(option: str, companions: Mapping[str, str | None]) -> None:
    """Raise UsageError for a companion of `option`, which is not given: it would be dropped without a word.

    `companions`: what was typed for each, None where nothing was.
    """
    for name, value in companions.items():
        if value is not None:
            raise UsageError(
                f"{name} {value}: it goes with {option}, which is not given: add {option}, or leave it out"
            )


def source_companions(kind: str, images: str | None, where: tuple[str, ...]) -> dict[str, str | None]:
    """The companions of a source, as `check_alone` takes them."""
    return {"--format": None if kind == "auto" else kind, "--images": images, "--where": " ".join(where) or None}


def check_target(path: Path, option: str, read: Iterable[str | None] = ()) -> None:
    """Raise UsageError where no file can be written at `path`: before the work, which may take hours.

    Folders that are not there yet will be made. `read`: what the command reads, as it was typed; it stays as it is.
    """
    if taken := next((typed for typed in read if typed is not None and _is_file(path, typed)), None):
        raise UsageError(f"{option} {path}: the command reads {taken}, and would overwrite it: name another file")
    folder = path.absolute().parent
    above = next(place for place in (folder, *folder.parents) if place.exists())
    if run := next((place for place in (folder, *folder.parents) if _is_of_run(path.absolute(), place)), None):
        raise UsageError(f"{option} {path}: the run in {run} keeps its own there: name another file")
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {path}: {above} is no folder that may be written: name another place")


def write_result(path: Path, data: bytes) -> None:
    """Write a command's result, whole or not at all. Raises StorageDenied, StorageUnavailable."""
    from finetune_sdk.storage import open_object

    store, key = open_object(uri_of(os.fspath(path)))
    store.write(key, data)


def _is_file(path: Path, typed: str) -> bool:
    """Whether what was typed is the file that lies at `path`."""
    uri = uri_of(typed)
    try:
        return uri.startswith("file://") and path.samefile(uri_to_path(uri))
    except OSError:  # one of them is not there
        return False


def _is_of_run(path: Path, output: Path) -> bool:
    """Whether a run's `output` is there, and keeps what is its own at `path`."""
    name = path.relative_to(output).as_posix()
    return _OF_A_RUN.fullmatch(name) is not None and (output / "run.json").is_file()


def _check_no_architecture(typed: str, option: str) -> None:
    """Raise UsageError, with tags that would do, where a name is an architecture's."""
    entry = next((entry for entry in load_catalogue() if entry["name"] == typed), None)
    if entry is None:
        return
    pairs = [f"{typed}:{tag}" for tag in entry["tags"]]
    told = f"write ARCHITECTURE:TAG, as {some_pairs(pairs)}" if pairs else "no weights of it are published"
    raise UsageError(f"{option} {typed}: there is no such file or folder, and for the architecture {told}")


def _parsed(kind: type[Part], document: Mapping[str, object], option: str) -> Part:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        if field in ("images", "format"):
            called = f"--{field}"
        else:
            called = option if field.endswith("uri") else f"{option}: {field}"
        raise UsageError(f"{called}: {in_words(first, first['loc'])}") from None
