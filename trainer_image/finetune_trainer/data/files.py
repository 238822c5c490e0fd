"""Which files a source is: the one named, those that braces stand for, or those of a folder that end rightly."""

import codecs
import json
import posixpath
import re
from dataclasses import dataclass
from itertools import product
from typing import Any

from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Entry
from finetune_trainer.data.places import encoding_hint, nothing_at
from finetune_trainer.data.readers import Source, natural

MOST_FILES = 1_000_000
"""That one pattern may stand for."""


@dataclass(frozen=True)
class ObjectLines:
    """What a .json holds that is JSON Lines in truth, an object a line."""

    data: bytes


def files_of(source: Source, endings: tuple[str, ...], described: str) -> list[Entry]:
    """The source's files in their order: as a pattern counts, else naturally by name.

    `described`: what is missing in a folder without such files. Raises ObjectNotFound, and DataInvalid.
    """
    if source.key:
        return [stat(source, key) for key in named(source)]
    found = [entry for entry in source.entries() if entry.key.lower().endswith(endings)]
    if not found:
        raise DataInvalid(f"{source.field}.uri: {source.spec.uri} holds no {described}")
    return sorted(found, key=lambda entry: natural(entry.key))


def named(source: Source) -> list[str]:
    """The keys that a URI names, where it names files. Raises DataInvalid for braces that mean nothing."""
    if "{" not in source.key or source.store.stat(source.key) is not None:
        return [source.key]
    try:
        return expand(source.key)
    except ValueError as error:
        raise DataInvalid(f"{source.field}.uri: {source.spec.uri}: {error}") from None


def expand(pattern: str) -> list[str]:
    """The names that shard-{000..003}.tar or {a,b}.tar stand for. Raises ValueError for braces that mean nothing."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    if any("{" in part or "}" in part for part in parts[::2]):
        raise ValueError("a brace is not closed")
    choices = [_choices(part) if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(choice) for choice in product(*choices)]


def stat(source: Source, key: str) -> Entry:
    """The entry of a file. Raises ObjectNotFound."""
    entry = source.store.stat(key)
    if entry is None:
        raise nothing_at(source.field, source.store.uri_of(key))
    return entry


def split_of(key: str) -> str | None:
    """The split that a file's place names: its first folder, or Hugging Face's train-00000-of-00002.parquet."""
    head, slash, _ = key.partition("/")
    if found := re.match(r"(.+?)-[0-9]{5}-of-[0-9]{5}", posixpath.basename(key)):
        return found[1]
    return head if slash else None


def document_of(source: Source) -> Any:
    """The JSON document of a source that is one file, or its ObjectLines. Raises DataInvalid where it is neither."""
    if not source.key:
        raise DataInvalid(f"{source.field}.uri: {source.spec.uri} must name one .json file, not a folder")
    stat(source, source.key)
    try:
        return source.found.document()
    except UnicodeDecodeError as error:
        hint = encoding_hint(error.object[:2])
        raise DataInvalid(f"{source.field}: {source.key} is not UTF-8; {hint}") from None
    except (ValueError, RecursionError) as error:
        several = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
        hint = "write one list of objects, or an object a line" if several else "it may be cut, upload it again"
        raise DataInvalid(f"{source.field}: {source.key} is no JSON ({error}): {hint}") from None


def parse_json(data: bytes) -> Any:
    """As json.loads, a byte-order mark before it allowed; ObjectLines where the first line is an object by itself.

    Raises ValueError and RecursionError.
    """
    try:
        return json.loads(data.decode("utf-8-sig"))
    except ValueError:
        if _is_object(data.removeprefix(codecs.BOM_UTF8).lstrip().split(b"\n", 1)[0]):
            return ObjectLines(data)
        raise


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode()), dict)
    except ValueError:
        return False


def _choices(inside: str) -> list[str]:
    if bounds := re.fullmatch(r"([0-9]+)\.\.([0-9]+)", inside):
        first, last = bounds.groups()
        if not 0 <= int(last) - int(first) < MOST_FILES:
            raise ValueError(f"{{{inside}}} must count upwards")
        return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    if "," in inside:
        return inside.split(",")
    raise ValueError(f"{{{inside}}} is neither a range such as {{000..123}} nor a list such as {{a,b}}")
