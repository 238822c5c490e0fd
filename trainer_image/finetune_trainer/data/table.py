"""CSV and TSV: a row for each caption, rows of one picture joined in the order of its first."""

import codecs
import csv
import io
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import PurePosixPath

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data import flickr
from finetune_trainer.data.fields import (
    IMAGE_FIELDS,
    Fields,
    check_where,
    find_fields,
    notes_on,
)
from finetune_trainer.data.files import stat
from finetune_trainer.data.pairs import unquoted_pairs
from finetune_trainer.data.places import encoding_hint
from finetune_trainer.data.readers import CAPTION_FIELDS, PICTURES, Found, Reader, Rows, Source, Where, find_name
from finetune_trainer.data.said import Said, join, printable, rows_of, say, wanted
from finetune_trainer.data.types import BadRow

LARGEST_CELL = 1 << 20
"""Characters of one cell; more is a quote that nobody closed."""
METADATA = "metadata"
"""What Hugging Face calls the table beside an image folder's pictures: folder.py reads it."""
MOST_LOOKED_INTO = 100
"""Files of a folder that are opened to see which is a table: each is a request."""

Lines = list[tuple[int, list[str]]]
"""Line numbers and cells."""


def recognises(found: Found) -> bool:
    """A .csv or .tsv, a .txt whose first line names columns, or a folder with one of them at its top, no captions
    beside pictures and no shards."""
    if found.file is not None:
        if found.holds(".csv", ".tsv"):
            return not flickr.recognises(found)
        return found.holds(".txt") and _names_columns(found.head())
    return not found.holds(".tar") and not found.has_texts_beside and len(tables_in(found)) == 1


def tables_in(found: Found) -> list[str]:
    """The tables at a folder's top, metadata left out."""
    names = [name for name in found.at_top(".csv", ".tsv", ".txt") if PurePosixPath(name).stem.lower() != METADATA]
    if len(names) > MOST_LOOKED_INTO:
        return [name for name in names if not name.lower().endswith(".txt")]
    return [name for name in names if recognises(found.inside(name))]


def open_rows(source: Source) -> Rows:
    """Read the table whole, find its columns, and look up the pictures that it names.

    Raises ObjectNotFound, and DataInvalid for a missing column or a file that is no text.
    """
    key = source.key or _only_table(source)
    entry = stat(source, key)
    where = Where(source.spec.where)
    name = posixpath.basename(key)
    header, lines = _parse(source, key, name)
    fields = find_fields(source, header, name)
    check_where(source, header, fields, name)
    said = join(says(lines, header, fields, where, name))
    return rows_of(source, said, [entry], where, notes_on(source, fields, name), fields)


def _parse(source: Source, key: str, name: str) -> tuple[list[str], Lines]:
    data = source.store.read(key)
    names = _first_names(data)
    is_pairs = key.lower().endswith(".txt") and len(names) == 2 and find_name(names[:1], IMAGE_FIELDS) is not None
    if is_pairs and (pairs := unquoted_pairs(data)) is not None:
        return names, pairs
    return parse(data, name, tab=source.spec.format == "tsv" or key.lower().endswith(".tsv"))


def parse(data: bytes, name: str, tab: bool) -> tuple[list[str], Lines]:
    """Header and (line, cells) of a table. Bytes that are not UTF-8 stay as surrogates: their rows are refused later.

    Raises DataInvalid where it is empty, no text, or a quote is left open or takes rows into its cell.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataInvalid(f"{name} is not UTF-8; {encoding_hint(data)}")
    if b"\0" in data[:4096]:
        raise DataInvalid(f"{name} is not a text file: give a CSV or TSV, or name its format")
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="surrogateescape", newline="")
    first = text.readline()
    text.seek(0)
    delimiter = "\t" if tab else _delimiter(first)
    physical: list[str] = []
    reader = csv.reader(_noted(text, physical), delimiter=delimiter)
    lines: Lines = []
    before = csv.field_size_limit(LARGEST_CELL)
    start = 1
    try:
        for cells in reader:
            if cells:
                lines.append((start, cells))
            if len(physical) > 1:
                _check_swallowed(physical, start, len(lines[0][1]), delimiter)
            physical.clear()
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataInvalid(
            f"{name}:{start} cannot be read ({error}): is a quote opened there and never closed? Where a caption "
            'begins with a quote, quote it whole and double those inside, as """Stop"", a sign", or leave them out'
        ) from None
    finally:
        csv.field_size_limit(before)
    if not lines:
        raise DataInvalid(f"{name} is empty: its first row must name the columns, such as image,caption")
    return [cell.strip() for cell in lines[0][1]], lines[1:]


def says(
    lines: Lines, header: list[str], fields: Fields, where: Where, name: str, place_split: str | None = None
) -> Iterator[Said]:
    """What each line says, those that `where` leaves out left out. `place_split`: what the file's place names."""
    for line, cells in lines:
        at = f"{name}:{line}"
        if len(cells) != len(header):
            detail = f"it has {len(cells)} fields and the header {len(header)}: a caption with a comma needs quotes"
            yield Said(at, printable(cells[0]), problem=BadRow("bad-row", detail))
            continue
        # Of two columns with one name the first counts.
        values = dict(zip(reversed(header), reversed(cells), strict=True))
        if not wanted(values, fields, where, place_split):
            continue
        said = say(at, values, fields)
        if any("\udc80" <= char <= "\udcff" for cell in cells for char in cell):
            said.problem = BadRow("wrong-encoding", f"it is not UTF-8; {encoding_hint(b'')}")
        if said.split is None:
            said.split = place_split
        yield said


def _noted(lines: Iterable[str], physical: list[str]) -> Iterator[str]:
    """`lines`, each noted in `physical`, which is emptied after each row. Raises csv.Error for an end amid a row."""
    for line in lines:
        physical.append(line)
        yield line
    if physical:
        raise csv.Error("the file ends within a quoted cell")


def _check_swallowed(physical: list[str], start: int, width: int, delimiter: str) -> None:
    """Raise csv.Error where a row of several lines, `start` the first, holds what look like rows of their own."""
    if any(_looks_like_row(line, width, delimiter) for line in physical[1:]):
        last = start + len(physical) - 1
        raise csv.Error(f"a quoted cell goes on to line {last}, over lines that look like rows of their own")


def _looks_like_row(line: str, width: int, delimiter: str) -> bool:
    """Whether a line has the header's number of cells, and a picture's path before any stray quote.

    A stray quote is where a caption of several lines ends: what follows it belongs to that row.
    """
    cells = next(csv.reader([line], delimiter=delimiter))
    head = list(takewhile(lambda cell: '"' not in cell, cells))
    return len(cells) == width and any(cell.strip().lower().endswith(PICTURES) for cell in head)


def _delimiter(header: str) -> str:
    """A comma, or what a spreadsheet wrote in its place."""
    return next((mark for mark in ",;\t" if mark in header), ",")


def _names_columns(head: bytes) -> bool:
    """Whether the first line of a text names a picture's and a caption's column, as Kaggle's captions.txt does."""
    names = _first_names(head)
    return find_name(names, IMAGE_FIELDS) is not None and find_name(names, CAPTION_FIELDS) is not None


def _first_names(data: bytes) -> list[str]:
    first = data.split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip()
    return [name.strip() for name in first.split(_delimiter(first))]


def _only_table(source: Source) -> str:
    found = replace(source.found, names=tuple(entry.key for entry in source.entries()))
    tables = tables_in(found) or found.at_top(".csv", ".tsv")  # of metadata alone, where its format is named
    if len(tables) == 1:
        return tables[0]
    holds = ", ".join(tables[:5]) or "none"
    raise DataInvalid(f"{source.field}.uri: {source.spec.uri} must name one table; the folder holds {holds}")


READER = Reader(("csv", "tsv"), f"a table of {PICTURES[0]} and other paths with captions", recognises, open_rows)
