"""What a source is, for somebody who has not written it down yet: format, columns, splits, where the pictures lie."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from finetune_sdk.api.data import DataSource
from finetune_trainer.data.formats import choose_reader, locate
from finetune_trainer.data.places import Stores, parent_of
from finetune_trainer.data.readers import Source
from finetune_trainer.data.splitting import SPLIT_NAMES
from finetune_trainer.data.types import BadRow, Row

LOOKED_AT = 2000
"""Rows that are looked at where a row must be read with its picture: enough to meet every split."""
TRIED = 5
"""Pictures that are looked for before the folder they count from is doubted."""
LOOKED_THROUGH = 100_000
"""Files among which a picture's folder is looked for."""


@dataclass(frozen=True)
class Guess:
    """What `finetune init` writes down."""

    format: str
    fields: Mapping[str, str]
    """Of image, caption, split and group, where the format has columns."""
    splits: Mapping[str, str]
    """What the data calls train, validation and test, as far as it has them."""
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
    """Look at a source. Raises ObjectNotFound, DataInvalid, and the storage's errors."""
    source = locate("data.source", spec, stores)
    reader = choose_reader(source)
    rows = reader.open(source)
    whole = rows.total is not None and reader.formats[0] != "folder"
    some = list(rows.read()) if whole else list(islice(rows.read(), LOOKED_AT))
    met = Counter(row.split for row in some if row.split)
    lost = _lost(some[:TRIED])
    images = _find_folder(source, lost) if lost is not None and spec.images is None else None
    usable = [row for row in some if row.usable]
    captions = [caption for row in usable for caption in row.captions if caption.strip()]
    return Guess(
        format=_format(reader.formats, source),
        fields=rows.fields,
        splits=_splits(met),
        images=images,
        missing=lost if images is None else None,
        rows=rows.total if rows.total is not None else len(some) if len(some) < LOOKED_AT else None,
        captions=len(captions),
        looked_at=len(usable),
        example=captions[0].strip() if captions else "",
    )


def _format(formats: tuple[str, ...], source: Source) -> str:
    ending = source.key.lower().rpartition(".")[2]
    return ending if ending in formats else formats[0]


def _splits(met: Mapping[str, int]) -> dict[str, str]:
    """By our names; empty unless train and test are there. Of two names for one split the more frequent counts."""
    found: dict[str, str] = {}
    for name in sorted(met, key=lambda name: met[name]):
        if (ours := SPLIT_NAMES.get(name.casefold())) is not None:
            found[ours] = name
    if not {"train", "test"} <= found.keys():
        return {}
    return {name: found[name] for name in ("train", "validation", "test") if name in found}


def _lost(rows: list[Row]) -> str | None:
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


def _find_folder(source: Source, cell: str) -> str | None:
    """The folder below the table's, or below the one above it, that holds a picture of that path."""
    here = parent_of(source.store.uri_of(source.key)).folder if source.key else source.store.uri
    for folder in (here, parent_of(here).folder):
        store = source.stores(folder)
        for entry in islice(store.list(), LOOKED_THROUGH):
            if entry.key.endswith(f"/{cell}"):
                return store.uri_of(entry.key.removesuffix(f"/{cell}"))
    return None
