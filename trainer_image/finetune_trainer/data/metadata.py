"""Hugging Face's image folder: metadata.csv, .jsonl or .parquet beside the pictures, perhaps one for each split.

Paths in `file_name` count from the metadata's own folder, and the first folder names the split.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from finetune_sdk.storage import Entry
from finetune_trainer.data import jsonlines, parquet, table
from finetune_trainer.data.fields import Fields, Role, check_where, find_fields, notes_on
from finetune_trainer.data.readers import Rows, Source, Where, natural
from finetune_trainer.data.said import Said, join, rows_of

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


@dataclass
class _Met:
    """What is gathered over all files."""

    notes: list[str] = field(default_factory=list)
    fields: dict[Role, str] = field(default_factory=dict)


def is_metadata(key: str) -> bool:
    """Whether a file of a folder says what its pictures are."""
    return posixpath.basename(key).lower() in NAMES


def open_rows(source: Source, entries: Sequence[Entry]) -> Rows:
    """Rows of all metadata files among a folder's `entries`. Raises DataInvalid where one lacks a column."""
    where = Where(source.spec.where)
    files = sorted((entry for entry in entries if is_metadata(entry.key)), key=lambda entry: natural(entry.key))
    said: list[Said] = []
    met = _Met()
    for file in files:
        said += _said(source, file, where, met)
    return rows_of(source, join(said), files, where, tuple(dict.fromkeys(met.notes)), met.fields)


def _said(source: Source, file: Entry, where: Where, met: _Met) -> list[Said]:
    head, slash, _ = file.key.partition("/")
    split = head if slash else None
    folder = posixpath.dirname(file.key)
    lines = list(_lines(source, file, where, split, met))
    for said in lines:
        said.where = posixpath.join(folder, said.where)
        if source.spec.images is None:
            said.folder = source.store.uri_of(folder) if folder else source.store.uri
        said.split = split if said.split is None else said.split
    return lines


def _lines(source: Source, file: Entry, where: Where, split: str | None, met: _Met) -> Iterator[Said]:
    name = posixpath.basename(file.key)

    def fields_of(names: list[str]) -> Fields:
        fields = find_fields(source, names, file.key)
        check_where(source, names, fields, file.key, split=split is not None)
        met.notes.extend(notes_on(source, fields, name))
        met.fields.update(fields)
        return fields

    if name.lower().endswith(".csv"):
        header, cells = table.parse(source.store.read(file.key), file.key, tab=False)
        yield from table.says(cells, header, fields_of(header), where, name, split)
    elif name.lower().endswith(".jsonl"):
        objects = jsonlines.parse(source.store.read(file.key), file.key)
        yield from jsonlines.says(objects, fields_of(jsonlines.names_of(objects)), where, split)
    else:
        names, _ = parquet.columns_of(source, file)
        yield from parquet.says(source, file, fields_of(list(names)), where)
