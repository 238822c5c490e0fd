"""CSV and TSV: a row for each caption, rows of one picture joined in the order of its first."""

import codecs
import csv
import io
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Entry
from finetune_trainer.data.places import (
    Place,
    encoding_hint,
    fingerprint,
    list_places,
    nothing_at,
    parent_of,
    read_picture,
    resolve,
)
from finetune_trainer.data.readers import (
    CAPTION_FIELDS,
    PICTURES,
    Found,
    Reader,
    Rows,
    Source,
    Where,
    find_name,
    missing_field,
    unusable,
)
from finetune_trainer.data.types import BadRow, Row

IMAGE_COLUMNS = ("image", "file_path", "image_path", "file_name", "image_name", "image_file", "file", "path", "img")
SPLIT_COLUMNS = ("split", "subset", "fold", "partition")
GROUP_COLUMNS = ("group", "group_id")
LARGEST_CELL = 1 << 20
"""Characters of one cell; more is a quote that nobody closed."""

Role = Literal["image", "caption", "split", "group"]


@dataclass
class Entries:
    """The rows of one picture: `problem` in place of captions where a row cannot be used at all."""

    line: int
    cell: str
    captions: list[str] = field(default_factory=list)
    split: str | None = None
    group: str | None = None
    problem: BadRow | None = None


def recognises(found: Found) -> bool:
    """A .csv or .tsv, or a folder with exactly one at its top and no captions or shards beside its pictures."""
    if found.file is not None:
        return found.holds(".csv", ".tsv")
    return len(_tables(found)) == 1 and not found.holds(".txt", ".tar")


def open_rows(source: Source) -> Rows:
    """Read the table whole, find its columns, and look up the pictures that it names.

    Raises ObjectNotFound, and DataInvalid for a missing column or a file that is no text.
    """
    key = source.key or _only_table(source)
    entry = source.store.stat(key)
    if entry is None:
        raise nothing_at(source.field, source.store.uri_of(key))
    where = Where(source.spec.where)
    name = posixpath.basename(key)
    header, lines = parse(source.store.read(key), name, tab=source.spec.format == "tsv" or key.lower().endswith(".tsv"))
    columns = find_columns(source, header, name)
    _check_where(source, header, columns, name)
    pictures = join_rows(lines, header, columns, where)
    folder = source.spec.images or parent_of(source.store.uri_of(key)).folder
    places = [_place(folder, entries) for entries in pictures]
    known = list_places([place for place in places if isinstance(place, Place)], source.stores)

    def read() -> Iterator[Row]:
        for entries, place in zip(pictures, places, strict=True):
            yield _row(source, name, entries, place, known)

    listed = sorted(((place.folder, found) for place, found in known.items()), key=lambda item: (item[0], item[1].key))
    notes = _notes(source, header, columns, name)
    return Rows(read, len(pictures), fingerprint([(source.store.uri, entry), *listed]), where, notes)


def parse(data: bytes, name: str, tab: bool) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (line, cells) of a table. Bytes that are not UTF-8 stay as surrogates: their rows are refused later.

    Raises DataInvalid where it is empty, no text, or a quote is left open.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataInvalid(f"{name} is not UTF-8; {encoding_hint(data)}")
    if b"\0" in data[:4096]:
        raise DataInvalid(f"{name} is not a text file: give a CSV or TSV, or name its format")
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="surrogateescape", newline="")
    first = text.readline()
    text.seek(0)
    reader = csv.reader(text, delimiter="\t" if tab else _delimiter(first))
    lines: list[tuple[int, list[str]]] = []
    before = csv.field_size_limit(LARGEST_CELL)
    start = 1
    try:
        for cells in reader:
            if cells:
                lines.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataInvalid(
            f"{name}:{start} cannot be read ({error}): is a quote opened there and never closed?"
        ) from None
    finally:
        csv.field_size_limit(before)
    if not lines:
        raise DataInvalid(f"{name} is empty: its first row must name the columns, such as image,caption")
    return [cell.strip() for cell in lines[0][1]], lines[1:]


def find_columns(source: Source, header: list[str], name: str) -> dict[Role, int]:
    """The place of each role's column: as the spec names it, else by usual names; split and group may be absent.

    Raises DataInvalid, naming the columns that there are.
    """
    found: dict[Role, int] = {}
    usual: tuple[tuple[Role, tuple[str, ...]], ...] = (
        ("image", IMAGE_COLUMNS),
        ("caption", CAPTION_FIELDS),
        ("split", SPLIT_COLUMNS),
        ("group", GROUP_COLUMNS),
    )
    for role, names in usual:
        wanted = getattr(source.spec.columns, role)
        if wanted is not None and wanted not in header:
            raise missing_field(source, f"columns.{role}", wanted, header, name)
        column = wanted if wanted is not None else find_name(header, names)
        if column is not None:
            found[role] = header.index(column)
    for role in ("image", "caption"):
        if role not in found:
            raise DataInvalid(
                f"{name} has no column that is known to hold the {role}; its columns are {', '.join(header)}: "
                f"name one in {source.field}.columns.{role}"
            )
    return found


def join_rows(
    lines: list[tuple[int, list[str]]], header: list[str], columns: dict[Role, int], where: Where
) -> list[Entries]:
    """One Entries for each picture, split and group, in the order of its first row; bad rows stand alone."""
    joined: dict[tuple[str, str | None, str | None] | int, Entries] = {}
    names = {name: index for index, name in reversed(list(enumerate(header)))} | _missing_roles(header, columns)
    for line, cells in lines:
        if len(cells) != len(header):
            detail = f"it has {len(cells)} fields and the header {len(header)}: a caption with a comma needs quotes"
            joined[line] = Entries(line, cells[0], problem=BadRow("bad-row", detail))
            continue
        if not where.matches({name: cells[index] for name, index in names.items()}.get):
            continue
        image, caption = cells[columns["image"]].strip(), cells[columns["caption"]]
        split, group = (cells[columns[role]] if role in columns else None for role in ("split", "group"))
        if problem := _problem(image, cells):
            joined[line] = Entries(line, _printable(image), problem=problem)
            continue
        entries = joined.setdefault((image, split, group), Entries(line, image, split=split, group=group or None))
        entries.captions.append(caption)
    return list(joined.values())


def _problem(image: str, cells: list[str]) -> BadRow | None:
    if any("\udc80" <= char <= "\udcff" for cell in cells for char in cell):
        return BadRow("wrong-encoding", f"it is not UTF-8; {encoding_hint(b'')}")
    return None if image else BadRow("missing-image", "its picture's cell is empty")


def _row(source: Source, name: str, entries: Entries, place: Place | BadRow, known: dict[Place, Entry]) -> Row:
    where = f"{name}:{entries.line}"
    if isinstance(place, BadRow):
        return unusable(where, entries.cell, place.kind, place.detail)

    def load() -> bytes:
        return read_picture(source.stores(place.folder), place.key, known.get(place))

    return Row(where, entries.cell, tuple(entries.captions), load, entries.split, entries.group)


def _place(folder: str, entries: Entries) -> Place | BadRow:
    if entries.problem is not None:
        return entries.problem
    try:
        return resolve(folder, entries.cell)
    except BadRow as problem:
        return problem


def _delimiter(header: str) -> str:
    """A comma, or what a spreadsheet wrote in its place."""
    return next((mark for mark in ",;\t" if mark in header), ",")


def _missing_roles(header: list[str], columns: dict[Role, int]) -> dict[str, int]:
    """`where` may say split or group for the column that has that role."""
    return {role: index for role, index in columns.items() if role in ("split", "group") and role not in header}


def _check_where(source: Source, header: list[str], columns: dict[Role, int], name: str) -> None:
    for column in source.spec.where:
        if column not in header and column not in _missing_roles(header, columns):
            raise missing_field(source, "where", column, header, name)


def _notes(source: Source, header: list[str], columns: dict[Role, int], name: str) -> tuple[str, ...]:
    """What was understood that its names do not say, and a split that nobody asked for."""
    roles: tuple[Role, ...] = ("image", "caption")
    said = [f"{role} from column {header[columns[role]]!r}" for role in roles if header[columns[role]] != role]
    said += ["rows of one group stay together"] if "group" in columns else []
    notes = [f"{source.field}: {name}: {', '.join(said)}"] if said else []
    if source.field == "data.source" and "split" in columns and source.spec.columns.split is None:
        column = header[columns["split"]]
        notes.append(
            f"{source.field}: {name} has a column {column!r}, and pictures are split by hash all the same: "
            f"set {source.field}.columns.split to {column} to follow it"
        )
    return tuple(notes)


def _tables(found: Found) -> list[str]:
    return [name for name in found.names if re.fullmatch(r"[^/]+\.(csv|tsv)", name, re.IGNORECASE)]


def _only_table(source: Source) -> str:
    tables = [entry.key for entry in source.store.list() if _tables(Found("", None, (entry.key,)))]
    if len(tables) == 1:
        return tables[0]
    holds = ", ".join(tables[:5]) or "none"
    raise DataInvalid(f"{source.field}.uri: {source.spec.uri} must name one table; the folder holds {holds}")


def _printable(cell: str) -> str:
    return cell.encode("utf-8", "replace").decode()


READER = Reader(("csv", "tsv"), f"a table of {PICTURES[0]} and other paths with captions", recognises, open_rows)
