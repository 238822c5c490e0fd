"""Pictures without captions, and texts without pictures: what is turned into vectors by itself."""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid, ObjectNotFound, UsageError
from finetune_sdk.storage import Entry, Store
from finetune_trainer.data import jsonlines, parquet, table
from finetune_trainer.data.captions import clean_captions
from finetune_trainer.data.fields import captions_of, check_once
from finetune_trainer.data.formats import locate, open_rows
from finetune_trainer.data.places import Stores, encoding_hint, fingerprint, parent_of, read_picture
from finetune_trainer.data.readers import CAPTION_FIELDS, PICTURES, Rows, Source, Where, find_name, natural
from finetune_trainer.data.seekable import open_seekable
from finetune_trainer.data.types import BadRow, Row

TABLES = (".csv", ".tsv", *jsonlines.ENDINGS, *parquet.ENDINGS)
"""Files that texts are read from by column."""


@dataclass(frozen=True)
class Text:
    """A line of a text file or a cell of a table."""

    where: str
    """'queries.txt:3'."""
    text: str | BadRow
    """One line, not empty; or why it cannot be used."""


def open_pictures(field: str, spec: DataSource, shown: str, stores: Stores) -> Rows:
    """The pictures of a source: those of a folder and the folders in it, a single one, or those of any other format.

    Captions are not asked for where the source is a picture or a folder of pictures, `format` is auto and nothing is
    filtered. `shown`: the place as its user wrote it, before the names of a folder's pictures.
    Raises ObjectNotFound, DataInvalid, UsageError for --images beside pictures, and the storage's errors.
    """
    if spec.format == "auto" and not spec.where:
        source = locate(field, spec, stores)
        if source.found.holds(*PICTURES):
            if spec.images is not None:
                raise UsageError(
                    f"--images {spec.images}: paths in a table count from it, and {shown} is no table but pictures: "
                    "leave it out"
                )
            return _plain(source, shown)
    return open_rows(field, spec, stores)


def _plain(source: Source, shown: str) -> Rows:
    if source.key:
        stat = source.store.stat(source.key)
        named = {shown: stat} if stat is not None else {}
    else:
        found = [entry for entry in source.store.list() if entry.key.lower().endswith(PICTURES)]
        named = {f"{shown.rstrip('/')}/{entry.key}": entry for entry in sorted(found, key=lambda e: natural(e.key))}

    def read() -> Iterator[Row]:
        for name, entry in named.items():
            yield Row(entry.key, name, (), partial(read_picture, source.store, entry.key, entry))

    own = fingerprint((source.store.uri, entry) for entry in named.values())
    return Rows(read, len(named), own, Where({}))


def read_texts(field: str, uri: str, column: str | None, stores: Stores) -> list[Text]:
    """The lines of a text file, or a table's `column`; None: the only one, or one with a usual name for captions.

    A cell that is a list gives several. Raises ObjectNotFound, and DataInvalid for a file that is no UTF-8 or no table,
    or lacks the column; `field` is what the user calls the file.
    """
    place = parent_of(uri)
    store = stores(place.folder)
    entry = store.stat(place.key) if place.key else None
    if entry is None:
        raise ObjectNotFound(f"{field}: there is no file {uri}: give a text file, one text a line, or a table")
    name = posixpath.basename(entry.key)
    if not name.lower().endswith(TABLES):
        if column is not None:
            raise DataInvalid(
                f"--column {column}: {name} is read line by line; columns are those of {', '.join(TABLES)}"
            )
        return list(_lines(field, store.read(entry.key), name))
    return [one for where, cell in _cells(field, store, entry, column) for one in _texts(where, cell, column or "text")]


def _lines(field: str, data: bytes, name: str) -> Iterator[Text]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = data[: error.start].count(b"\n") + 1
        raise DataInvalid(f"{field}: {name}:{place} is not UTF-8; {encoding_hint(data)}") from None
    if "\0" in text:
        raise DataInvalid(f"{field}: {name} is not a text file: give one text a line, or a table")
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        yield from _texts(f"{name}:{number}", line, "line")


def _cells(field: str, store: Store, entry: Entry, column: str | None) -> Iterator[tuple[str, object]]:
    """Where each cell stands and what it holds; a BadRow where its row cannot be read."""
    name = posixpath.basename(entry.key)
    if name.lower().endswith(parquet.ENDINGS):
        yield from _parquet_cells(field, store, entry, column)
    elif name.lower().endswith(jsonlines.ENDINGS):
        objects = jsonlines.parse(store.read(entry.key), name)
        chosen = _column(field, jsonlines.names_of(objects), column, name)
        for where, one in objects:
            yield where, one if isinstance(one, BadRow) else one.get(chosen)
    else:
        header, lines = table.parse(store.read(entry.key), name, tab=name.lower().endswith(".tsv"))
        chosen = _column(field, header, column, name)
        check_once(field, header, chosen, name)
        place = header.index(chosen)
        for number, cells in lines:
            yield f"{name}:{number}", _cell(cells, place, len(header))


def _cell(cells: list[str], place: int, width: int) -> str | BadRow:
    if len(cells) != width:
        detail = f"it has {len(cells)} fields and the header {width}: a text with a comma needs quotes"
        return BadRow("bad-row", detail)
    if any("\udc80" <= char <= "\udcff" for char in cells[place]):
        return BadRow("wrong-encoding", f"it is not UTF-8; {encoding_hint(b'')}")
    return cells[place]


def _parquet_cells(field: str, store: Store, entry: Entry, column: str | None) -> Iterator[tuple[str, object]]:
    import pyarrow as pa
    from pyarrow import parquet as files

    name = posixpath.basename(entry.key)
    with open_seekable(store, entry) as opened:
        try:
            file = files.ParquetFile(opened)
            chosen = _column(field, file.schema_arrow.names, column, name)
            cells = file.read(columns=[chosen]).column(0).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataInvalid(f"{field}: {name} is no Parquet file, or is broken ({error}): write it again") from None
    for number, cell in enumerate(cells, start=1):
        yield f"{name}:{number}", cell


def _column(field: str, names: Iterable[str], wanted: str | None, name: str) -> str:
    known = list(names)
    if wanted is not None:
        if wanted in known:
            return wanted
        raise DataInvalid(f"--column: {name} has no column {wanted!r}; it has {', '.join(known) or 'none'}")
    found = known[0] if len(known) == 1 else find_name(known, CAPTION_FIELDS)
    if found is None:
        raise DataInvalid(f"{field}: {name} has the columns {', '.join(known)}: name the texts' with --column")
    return found


def _texts(where: str, cell: object, column: str) -> Iterator[Text]:
    if isinstance(cell, BadRow):
        yield Text(where, cell)
        return
    try:
        texts = captions_of(cell, column) or [""]
    except BadRow as bad:
        yield Text(where, bad)
        return
    for text in texts:
        try:
            yield Text(where, clean_captions([text])[0][0])
        except BadRow:
            yield Text(where, BadRow("empty-text", "there is no text"))
