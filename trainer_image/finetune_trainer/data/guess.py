"""What a source is, for somebody who has not written it down yet: format, columns, splits, where the pictures lie."""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid, StorageDenied
from finetune_sdk.storage import Entry, Store
from finetune_trainer.data.captions import clean_captions
from finetune_trainer.data.formats import choose_reader, locate
from finetune_trainer.data.guess_splits import Splits, splits_of
from finetune_trainer.data.index import too_many_bad
from finetune_trainer.data.places import Stores, parent_of
from finetune_trainer.data.readers import Source
from finetune_trainer.data.types import BadRow, Row
from finetune_trainer.records import Problem

LOOKED_AT = 2000
"""Rows that are looked at where a row must be read with its picture."""
TRIED = 5
"""Pictures that are looked for before the folder they count from is doubted."""
SOUGHT = 100
"""Pictures whose names are then looked for elsewhere."""
LOOKED_THROUGH = 100_000
"""Files among which a picture's folder is looked for."""
LOOKED_THROUGH_FIRST = (1000, 10_000)
"""Of a whole bucket, which may hold anything: no more where these hold the pictures."""
FILE_SYSTEM = "file:///"
"""Is not looked through."""


@dataclass(frozen=True)
class Guess:
    """What `finetune init` writes down."""

    format: str
    fields: Mapping[str, str]
    """Of image, caption, split and group, where the format has columns."""
    splits: Splits
    images: str | None
    """The URI that paths count from, where it is not the file's own folder and was not given."""
    missing: str | None
    """A picture that was found nowhere."""
    rows: int | None
    """How many pictures there are; None: more than were looked at."""
    captions: int
    """Of the pictures that were looked at."""
    looked_at: int
    """How many pictures that was, bad rows aside."""
    example: str
    """A caption."""


def guess(spec: DataSource, stores: Stores) -> Guess:
    """Look at a source. Raises ObjectNotFound, DataInvalid where it has no caption too, and the storage's errors."""
    source = locate("data.source", spec, stores)
    reader = choose_reader(source)
    rows = reader.open(source)
    # Of a folder's pictures each has a text to read, unless a metadata file has them all.
    whole = rows.total is not None and (reader.formats[0] != "folder" or bool(rows.fields))
    some = list(rows.read()) if whole else list(islice(rows.read(), LOOKED_AT))
    usable = [row for row in some if row.usable]
    captions = [caption for row in usable for caption in row.captions if caption.strip()]
    if not captions:
        raise _without_captions(source, some)
    lost = _lost(some[:TRIED])
    images = _find_folder(source, some) if lost is not None and spec.images is None else None
    return Guess(
        format=_format(reader.formats, source),
        fields=rows.fields,
        splits=splits_of(source, reader.formats[0], rows, some, everything=whole or len(some) < LOOKED_AT),
        images=images,
        missing=lost if images is None else None,
        rows=rows.total if rows.total is not None else len(some) if len(some) < LOOKED_AT else None,
        captions=len(captions),
        looked_at=len(usable),
        example=captions[0].strip(),
    )


def _format(formats: tuple[str, ...], source: Source) -> str:
    ending = source.key.lower().rpartition(".")[2]
    return ending if ending in formats else formats[0]


def _without_captions(source: Source, rows: Sequence[Row]) -> DataInvalid:
    """The refusal of what has no caption at all, with what is wrong with its first rows."""
    if not rows:
        return DataInvalid(f"{source.field}: {source.spec.uri} holds no rows")
    problems = []
    for row in rows:
        try:
            if not row.usable:
                row.load()
            clean_captions(row.captions)
        except BadRow as bad:
            problems.append(Problem(kind=bad.kind, where=row.where, detail=bad.detail))
    kinds = Counter(problem.kind for problem in problems)
    return too_many_bad(source.field, len(rows), problems, kinds, "a run can leave out")


def _lost(rows: Sequence[Row]) -> str | None:
    """The first picture's path, where none of `rows` has its picture where it should be."""
    for row in rows:
        try:
            row.load()
        except BadRow as bad:
            if bad.kind != "missing-image":
                return None
        else:
            return None
    return next((row.name for row in rows if row.name), None)


def _find_folder(source: Source, rows: Sequence[Row]) -> str | None:
    """The folder below the table's, or below the one above it, that holds most of the pictures by their paths.

    None also where the search meets a folder that may not be read before it finds any.
    """
    cells = list(dict.fromkeys(posixpath.normpath(row.name) for row in rows if row.usable and row.name))
    sought = cells[:: max(1, len(cells) // SOUGHT)][:SOUGHT]
    here = parent_of(source.store.uri_of(source.key)).folder if source.key else source.store.uri
    held: dict[str, tuple[int, int]] = {}
    for folder in dict.fromkeys((here, parent_of(here).folder)):  # a bucket is its own folder above
        for entries in _listings(source.stores(folder)) if folder != FILE_SYSTEM else ():
            held |= _holding(source.stores(folder), entries, sought)
            if any(count > len(sought) / 2 for count, _ in held.values()):
                return max(held, key=lambda place: held[place])
    return max(held, key=lambda place: held[place], default=None)


def _listings(store: Store) -> Iterator[Sequence[Entry]]:
    """What lies below a store, as far as it is looked through and may be read; of a whole bucket a little at first."""
    is_bucket = not parent_of(store.uri).key
    for most in (*(LOOKED_THROUGH_FIRST if is_bucket else ()), LOOKED_THROUGH):
        entries: list[Entry] = []
        with suppress(StorageDenied):
            for entry in store.list(most=most):
                entries.append(entry)  # noqa: PERF402 - those before a refusal count
        yield entries
        if len(entries) < most:
            return


def _holding(store: Store, entries: Iterable[Entry], cells: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Folders that hold some of `cells`, how many, and their bytes: of thumbnails there are as many, but smaller."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for cell in cells:
        by_name[posixpath.basename(cell)].append(cell)
    held: dict[str, tuple[int, int]] = {}
    for entry in entries:
        for cell in by_name.get(posixpath.basename(entry.key), ()):
            if entry.key.endswith(f"/{cell}"):
                place = store.uri_of(entry.key.removesuffix(f"/{cell}"))
                count, size = held.get(place, (0, 0))
                held[place] = (count + 1, size + entry.size)
    return held
