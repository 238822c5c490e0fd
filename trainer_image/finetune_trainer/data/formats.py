"""Which reader reads a source: named by `format`, or told by its ending and what its folder holds."""

from collections.abc import Callable
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Entry, Store
from finetune_trainer.data import (
    coco,
    docarrays,
    flickr,
    folder,
    jsonlines,
    karpathy,
    parquet,
    table,
    webdataset,
)
from finetune_trainer.data.files import document_of, parse_json
from finetune_trainer.data.places import Stores, nothing_at, parent_of, pattern_of
from finetune_trainer.data.readers import PICTURES, Found, Reader, Rows, Source, is_beside_the_point

READERS: tuple[Reader, ...] = (
    table.READER,
    folder.READER,
    webdataset.READER,
    jsonlines.READER,
    parquet.READER,
    coco.READER,
    karpathy.READER,
    flickr.READER,
    docarrays.READER,
)
"""A later format is one file and one line here."""
HEAD = 4096
"""Bytes of a file that detection looks at."""


def open_rows(field: str, spec: DataSource, stores: Stores) -> Rows:
    """Find `spec`'s format and open it; no picture is read yet. `field` is its place in the spec: 'data.train'.

    Raises ObjectNotFound where nothing is stored, DataInvalid for a format that cannot be told or a table that lacks
    what is needed, and the storage's errors.
    """
    source = locate(field, spec, stores)
    return choose_reader(source).open(source)


def locate(field: str, spec: DataSource, stores: Stores) -> Source:
    """See whether the URI names a file, a folder, or shards by a pattern. Raises ObjectNotFound."""
    place = parent_of(spec.uri)
    if place.key and not spec.uri.endswith("/"):
        parent = stores(place.folder)
        if parent.stat(place.key) is not None:
            return Source(field, spec, parent, place.key, stores, _found(spec.uri, parent, place.key))
    if (shards := pattern_of(spec.uri)) is not None:
        return Source(field, spec, stores(shards.folder), shards.key, stores, Found(spec.uri, shards.key))
    store = stores(spec.uri)

    @cache
    def entries() -> tuple[Entry, ...]:
        return tuple(store.list())

    listed = entries() if spec.format == "auto" else store.list(most=1)
    names = tuple(entry.key for entry in listed)
    if not names:
        raise nothing_at(field, spec.uri)
    return Source(field, spec, store, "", stores, Found(spec.uri, None, names, _head_of(store)), entries)


def choose_reader(source: Source) -> Reader:
    """The reader of `spec.format`, or the only one that knows what was found. Raises DataInvalid."""
    wanted = source.spec.format
    if wanted != "auto":
        for reader in READERS:
            if wanted in reader.formats:
                return reader
        raise DataInvalid(f"{source.called('format')}: {wanted} is not known; formats are {_known()}")
    if source.found.file is not None and source.found.file.lower().endswith(".json"):
        document_of(source)  # says why where it is no JSON
    fits = [reader for reader in READERS if reader.recognises(source.found)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        several = " or ".join(reader.formats[0] for reader in fits)
        raise DataInvalid(
            f"{source.called('format')}: {source.found.uri} may be {several}: it holds {_summary(source.found)}. "
            f"Write which one as {source.called('format')}"
        )
    raise _unknown(source)


def _unknown(source: Source) -> DataInvalid:
    """The refusal of what no reader knows."""
    found, tables = source.found, table.tables_in(source.found)
    if len(tables) > 1:
        return DataInvalid(
            f"{source.field}.uri: {found.uri} holds {len(tables)} tables, {', '.join(tables[:5])}: name one of them, "
            f"as {found.uri.rstrip('/')}/{tables[0]}"
        )
    if found.holds(*PICTURES) and found.file is None and all(map(_says_nothing, found.names)):
        return DataInvalid(
            f"{source.field}: {found.uri} holds pictures and no captions: found {_summary(found)}. Put each picture's "
            "captions beside it, as cat.txt beside cat.jpg, or all in a metadata.csv beside them with the columns "
            "file_name and text; where a file among them holds the captions, name that file as uri"
        )
    inside = "; where one of its files holds the captions, name that file as uri" if found.file is None else ""
    return DataInvalid(
        f"{source.called('format')}: {found.uri} is no format that is known: found {_summary(found)}. "
        f"Formats are {_known()}{inside}"
    )


def _says_nothing(name: str) -> bool:
    """Whether a folder's file is a picture, or a text that belongs to none."""
    return name.lower().endswith((*PICTURES, ".txt")) or is_beside_the_point(name)


def _found(uri: str, store: Store, key: str) -> Found:
    """A file, of which more is read when somebody asks."""

    @cache
    def document() -> Any:
        return parse_json(store.read(key))

    return Found(uri, key, head_of=_head_of(store), document=document)


def _head_of(store: Store) -> Callable[[str], bytes]:
    @cache
    def head_of(key: str) -> bytes:
        with store.open(key) as stream:
            return stream.read(HEAD)

    return head_of


def _known() -> str:
    return "; ".join(f"{', '.join(reader.formats)} ({reader.describes})" for reader in READERS)


def _summary(found: Found) -> str:
    """'412 .jpg, 412 .txt, 1 .csv'."""
    if found.file is not None:
        return f"a file that ends in {PurePosixPath(found.file).suffix or 'nothing'}"
    counts: dict[str, int] = {}
    for name in found.names:
        ending = PurePosixPath(name).suffix.lower() or "without ending"
        counts[ending] = counts.get(ending, 0) + 1
    return ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items(), key=lambda item: -item[1]))
