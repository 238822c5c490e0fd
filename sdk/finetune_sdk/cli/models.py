"""`finetune models`: the architectures that model.name takes, from a generated list: nothing is loaded or fetched."""

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

import click

from finetune_sdk.errors import UsageError

GENERATED = "models.json"
TRAINING_BYTES = 18
"""For each parameter: weight, gradient and AdamW's two averages in float32, and the weight once more in bfloat16."""
UNUSED_BYTES = 4
"""For each parameter that is loaded and not trained."""
SHOWN = 4
"""Pairs of architecture and tag that a message lists."""
HEADINGS = ("ARCHITECTURE", "IMAGE", "TEXT", "PIXELS", "TOKENS", "MEMORY", "EXPORTS", "TAGS")

Entry = dict[str, Any]


@click.command()
@click.argument("name", required=False)
@click.option(
    "--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Pairs that are trained at once."
)
def command(name: str | None, batch: int) -> None:
    """List the architectures whose names hold NAME: all without it, and all about one with its whole name.

    IMAGE and TEXT are the towers' parameters. MEMORY is about what full training takes on a GPU in bf16 with so many
    pairs at once (training.microBatchSize); a larger training.batchSize goes through in parts and takes no more, and
    LoRA and frozen towers take less. TAGS are what model.weights.tag takes.
    """
    entries = load_catalogue()
    exact = next((entry for entry in entries if entry["name"] == name), None)
    if exact is not None:
        click.echo("\n".join(described(exact, batch)))
        return
    found = [entry for entry in entries if (name or "").casefold() in entry["name"].casefold()]
    if not found:
        raise UsageError(f"no architecture's name holds {name!r}: {meant(str(name), entries)}")
    click.echo("\n".join(table(found, batch)))


def load_catalogue() -> list[Entry]:
    """Every architecture, in open_clip's order."""
    text = files("finetune_sdk.cli").joinpath(GENERATED).read_text(encoding="utf-8")
    entries: list[Entry] = json.loads(text)
    return entries


def meant(name: str, entries: Sequence[Entry]) -> str:
    """What to write in place of a name that no architecture has."""
    from difflib import get_close_matches

    near = get_close_matches(name, [entry["name"] for entry in entries], n=3, cutoff=0.4)
    return f"did you mean {' or '.join(near)}?" if near else "`finetune models` lists them"


def some_pairs(pairs: Sequence[str]) -> str:
    """The first few of 'ARCHITECTURE:TAG', and how many more there are."""
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return f"{', '.join(pairs[:SHOWN])}{more}"


def memory_bytes(entry: Entry, batch: int) -> int | None:
    """What full fine-tuning takes with `batch` pairs at once; None where the text tower's size is not known."""
    if entry["textParameters"] is None:
        return None
    parameters: int = entry["imageParameters"] + entry["textParameters"]
    held: int = TRAINING_BYTES * parameters + UNUSED_BYTES * entry["unusedParameters"]
    return held + batch * int(entry["activationBytes"])


def table(entries: Iterable[Entry], batch: int) -> list[str]:
    """Aligned lines with headings."""
    rows = [HEADINGS, *(_row(entry, batch) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS) - 1)]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows]


def described(entry: Entry, batch: int) -> list[str]:
    """All about one architecture."""
    image, text = _millions(entry["imageParameters"]), _millions(entry["textParameters"])
    facts = {
        "parameters": f"{image} image tower, {text} text tower; embeddings of {entry['embedding']}",
        "input": f"{_pixels(entry)} pixels, {entry['context']} tokens",
        "memory": f"{_gigabytes(memory_bytes(entry, batch))} to train with {batch} pairs at once, in bf16",
        "exports": ", ".join(entry["exports"]),
        "tags": ", ".join(entry["tags"]) or "none: use weights.uri or weights.random",
    }
    return [entry["name"], *(f"  {key:<11} {value}" for key, value in facts.items())]


def _row(entry: Entry, batch: int) -> tuple[str, ...]:
    return (
        entry["name"],
        _millions(entry["imageParameters"]),
        _millions(entry["textParameters"]),
        _pixels(entry),
        str(entry["context"]),
        _gigabytes(memory_bytes(entry, batch)),
        ",".join(entry["exports"]),
        ",".join(entry["tags"]) or "-",
    )


def _pixels(entry: Entry) -> str:
    height, width = entry["imageSize"]
    return f"{height}x{width}"


def _millions(parameters: int | None) -> str:
    return "?" if parameters is None else f"{parameters / 1e6:.0f}M"


def _gigabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e9:.1f} GB"
