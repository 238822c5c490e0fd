"""`finetune init`: a first run.yaml, with what the data itself says filled in."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from finetune_sdk.cli.choices import source_of
from finetune_sdk.cli.local import LocalPath
from finetune_sdk.cli.places import credentials_option, open_world
from finetune_sdk.errors import UsageError
from finetune_sdk.runfile import parse_run
from finetune_sdk.uri import uri_to_path

if TYPE_CHECKING:
    from finetune_trainer.data.guess import Guess

LONGEST_NAME = 50
"""Of a run."""
PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./:@+-]*")
"""Text that YAML takes for text without quotes, but for the words below."""
WORDS = {"true", "false", "null", "yes", "no", "on", "off", "~", "y", "n"}


@click.command()
@click.option("--data", "-d", required=True, metavar="PATH", help="Your pictures with captions: a file, folder or URI.")
@click.option("--images", metavar="PATH", help="The folder that paths in a table count from, if it is not found.")
@click.option(
    "--to", "-o", type=LocalPath(dir_okay=False), default=Path("run.yaml"), show_default=True,
    help="Where to write the file; it must not exist yet.",
)  # fmt: skip
@credentials_option
def command(data: str, images: str | None, to: Path, credentials: Path | None) -> None:
    """Look at your data and write a commented run.yaml, format, columns and splits filled in.

    \b
    finetune init --data captions.csv
    finetune init --data annotations/captions_train2017.json -o coco.yaml
    """
    _check_free(to)
    spec = source_of(data, "auto", images, ())
    with open_world(credentials, "finetune init") as world:
        from finetune_trainer.data.guess import guess

        found = guess(spec, world.open)
    folder = to.absolute().parent
    pictures = images or found.images
    text = run_text(found, data=_shown(data, folder), images=_shown(pictures, folder) if pictures else None)
    parse_run(text.encode(), name=str(to), folder=folder)
    _write(to, text)
    click.echo(f"wrote {to}: {found.format}, {_size(found)}; next: finetune run -f {to} --check")
    if found.missing:
        click.echo(
            f"the pictures were not found, such as {found.missing}: set `images` in {to} to the folder that their "
            "paths count from",
            err=True,
        )
    for sentence in found.splits.unused:
        click.echo(sentence, err=True)


def run_text(found: "Guess", *, data: str, images: str | None) -> str:
    """The file. `data` and `images` as it should write them."""
    lines = [
        "# Checked by `finetune validate -f`, tried by `finetune run --check -f`, carried out by `finetune run -f`.",
        "# Everything that is left out has a default that fits the amount of data; docs/reference/run-yaml.md has all.",
        "apiVersion: finetune.dev/v1alpha1",
        "kind: FinetuneRun",
        "metadata:",
        f"  name: {_quoted(_name(data))}",
        "spec:",
        "  model:  # any open_clip architecture and tag, or {weights: {uri: FOLDER}}",
        "    name: ViT-B-32-quickgelu",
        "    weights: {tag: openai}",
        f"  data:  # {_size(found)}{_example(found)}",
        *_data(found, data, images),
        "  # training: {epochs: 10, batchSize: 256, optimizer: {learningRate: 1.0e-5}}",
        "  # evaluation: {gate: {minGain: 0.02}}  # fail the run unless recall rises by 2 points",
        "  output:",
        "    uri: output/  # or s3://bucket/folder/",
        "",
    ]
    return "\n".join(lines)


def _data(found: "Guess", data: str, images: str | None) -> list[str]:
    source = [f"uri: {_quoted(data)}", f"format: {found.format}"]
    if images is not None:
        source.append(f"images: {_quoted(images)}")
    elif found.missing:
        source.append("# images: the folder that the paths of pictures count from")
    columns = {role: name for role, name in found.fields.items() if role != "split"}
    if found.splits.column is not None:
        columns["split"] = found.splits.column
    if columns:
        shown = ", ".join(f"{role}: {_quoted(name)}" for role, name in columns.items())
        source.append(f"columns: {{{shown}}}  # found by their names")
    lines = [f"    # {sentence}" for sentence in found.splits.unused]
    if not found.splits.names:
        how = "as columns.split says" if found.splits.column else "by each picture's hash, near duplicates on one side"
        return [*lines, f"    source:  # split {how}", *_indented(source)]
    for name, value in found.splits.names.items():
        lines += [f"    {name}:", *_indented([*source, f"where: {{split: {_quoted(value)}}}"])]
    return lines


def _indented(lines: list[str]) -> list[str]:
    return [f"      {line}" for line in lines]


def _quoted(text: str) -> str:
    """A YAML scalar that is this text."""
    plain = PLAIN.fullmatch(text) and text.casefold() not in WORDS and ": " not in text and not text.endswith(":")
    return text if plain else json.dumps(text)


def _size(found: "Guess") -> str:
    pictures = f"{found.rows:,} pictures" if found.rows is not None else f"more than {found.looked_at:,} pictures"
    return f"{pictures}, {found.captions / max(1, found.looked_at):.1f} captions each"


def _example(found: "Guess") -> str:
    """A caption, in ASCII: a comment ends at any line break."""
    return f", such as {json.dumps(found.example[:60])}" if found.example else ""


def _name(data: str) -> str:
    stem = re.split(r"[/\\]", data.rstrip("/"))[-1].partition(".")[0]
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:LONGEST_NAME].strip("-")
    return name if name and name[0].isalpha() else f"run-{name}"[:LONGEST_NAME].strip("-")


def _shown(place: str, folder: Path) -> str:
    """As it was typed where that is a URI or absolute; else as seen from the file's folder."""
    if place.startswith("file://"):
        return os.path.relpath(uri_to_path(place), folder) + "/"
    if "://" in place or Path(place).is_absolute():
        return place
    return os.path.relpath(place, folder) + ("/" if place.endswith("/") else "")


def _check_free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already and is not overwritten: give another file with -o, or remove it")


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _check_free(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): give another file with -o") from None
