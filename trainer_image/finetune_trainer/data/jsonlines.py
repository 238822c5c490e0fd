"""JSON Lines, an object a line, and JSON files that are a list of objects: a table whose captions may be lists.

JSON Lines may also stand in a file that is named .json.
"""

import json
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data import docarrays
from finetune_trainer.data.fields import Fields, check_where, find_fields, notes_on
from finetune_trainer.data.files import ObjectLines, document_of, files_of, split_of
from finetune_trainer.data.places import encoding_hint
from finetune_trainer.data.readers import Found, Reader, Rows, Source, Where
from finetune_trainer.data.said import Said, join, rows_of, say, wanted
from finetune_trainer.data.table import METADATA
from finetune_trainer.data.types import BadRow

ENDINGS = (".jsonl", ".ndjson")

NONE_MET: Fields = {"image": "image", "caption": "caption"}

Objects = list[tuple[str, "dict[str, Any] | BadRow"]]
"""Where each stands, and what it is."""


def recognises(found: Found) -> bool:
    """A .jsonl, a .json with a list or lines of objects, or a folder with some .jsonl at its top, no captions beside
    pictures, no shards and no other table."""
    if found.file is not None:
        return found.holds(*ENDINGS) or (found.holds(".json") and _holds_objects(found))
    if found.holds(".tar", ".csv", ".tsv", ".parquet") or found.has_texts_beside:
        return False
    return any(PurePosixPath(name).stem.lower() != METADATA for name in found.at_top(*ENDINGS))


def open_rows(source: Source) -> Rows:
    """Read all objects, find their keys, and look up their pictures. Raises ObjectNotFound, DataInvalid."""
    where = Where(source.spec.where)
    if source.key.lower().endswith(".json"):
        entry = source.store.stat(source.key)
        name = posixpath.basename(source.key)
        parts: list[tuple[str, str | None, Objects]] = [(name, None, _objects(document_of(source), name, source))]
        files = [entry] if entry is not None else []
    else:
        files = files_of(source, ENDINGS, ".jsonl")
        parts = [
            (posixpath.basename(file.key), split_of(file.key), parse(source.store.read(file.key), file.key))
            for file in files
        ]
    names = names_of(one for _, _, objects in parts for one in objects)
    subject = parts[0][0] if len(parts) == 1 else f"{parts[0][0]} to {parts[-1][0]}"
    if not any(objects for _, _, objects in parts):
        raise DataInvalid(f"{source.field}: {subject} holds no objects")
    # Without a single object no key is asked for: each line's own problem is told instead.
    fields = find_fields(source, names, subject) if names else NONE_MET
    if names:
        check_where(source, names, fields, subject, split=any(split for _, split, _ in parts))
    said = join(one for _, split, objects in parts for one in says(objects, fields, where, split))
    return rows_of(source, said, files, where, notes_on(source, fields, subject), fields)


def parse(data: bytes, name: str) -> Objects:
    r"""The objects of JSON Lines with where each stands; lines end with \n alone, as U+2028 may stand in a text.

    A line that is no object is a bad row. Raises DataInvalid where the file is not UTF-8 from its start.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataInvalid(f"{name} is not UTF-8; {encoding_hint(data)}")
    lines = enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
    base = posixpath.basename(name)
    return [(f"{base}:{number}", _object(line)) for number, line in lines if line.strip()]


def says(objects: Objects, fields: Fields, where: Where, place_split: str | None = None) -> Iterator[Said]:
    """What each object says, those that `where` leaves out left out. `place_split`: what the file's place names."""
    for at, one in objects:
        if isinstance(one, BadRow):
            yield Said(at, "", problem=one)
        elif wanted(one, fields, where, place_split):
            said = say(at, one, fields)
            said.split = place_split if said.split is None else said.split
            yield said


def names_of(objects: Iterable[tuple[str, dict[str, Any] | BadRow]]) -> list[str]:
    """All keys, in the order in which they are met."""
    return list(dict.fromkeys(key for _, one in objects if isinstance(one, dict) for key in one))


def _object(line: bytes) -> dict[str, Any] | BadRow:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return BadRow("wrong-encoding", f"it is not UTF-8; {encoding_hint(line)}")
    except (ValueError, RecursionError) as error:
        return BadRow("bad-row", f"it is no JSON: {error}")
    if not isinstance(value, dict):
        return BadRow("bad-row", f"it must be an object {{...}}, and is {type(value).__name__} {str(value)[:40]}")
    return value


def _objects(document: object, name: str, source: Source) -> Objects:
    if isinstance(document, ObjectLines):
        return parse(document.data, name)
    if not isinstance(document, list):
        raise DataInvalid(f"{source.field}: {name} must be a list of objects, or name its format: coco or karpathy")
    return [
        (f"{name}[{index}]", one if isinstance(one, dict) else BadRow("bad-row", f"it is no object: {str(one)[:40]}"))
        for index, one in enumerate(document)
    ]


def _holds_objects(found: Found) -> bool:
    if docarrays.recognises(found):
        return False
    try:
        return isinstance(found.document(), list | ObjectLines)
    except (ValueError, RecursionError):
        return False


READER = Reader(("jsonl",), "JSON Lines, or a JSON list, of objects with image and caption", recognises, open_rows)
