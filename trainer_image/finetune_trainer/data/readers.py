"""The one interface that every format enters by: a source of rows, described before it is read.

A later format is a new file with a `READER`, and its line in formats.py.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Entry, Store
from finetune_trainer.data.places import Stores
from finetune_trainer.data.types import BadRow, Row

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm")
"""Endings of files that are taken for pictures."""
CAPTION_FIELDS = (
    "caption",
    "captions",
    "title",
    "text",
    "sentence",
    "raw",
    "description",
    "alt_text",
    "txt",
    "comment",
)
"""Usual names of captions in tables and metadata, most telling first; compared without case."""
SEARCHED = "WHERE"
"""What `finetune search` calls its source, beside which no option stands."""
BESIDE_THE_POINT = ("readme", "license", "licence", "copying", "notice", "requirements")
"""Texts that are nobody's captions."""


def _no_head(_name: str) -> bytes:
    """Of what is no single file."""
    return b""


@dataclass(frozen=True)
class Found:
    """What lies at a source's URI, for telling formats apart."""

    uri: str
    file: str | None
    """The name, where the URI names a file or shards by a pattern; None for a folder."""
    names: tuple[str, ...] = ()
    """All names below a folder, as one table may come after any number of pictures; where `format` is named, and
    nothing is to be told from them, the first alone."""
    head_of: Callable[[str], bytes] = _no_head
    """The first bytes of a file by its name, read once."""
    document: Callable[[], Any] = dict
    """The file as JSON, parsed once. Raises ValueError and RecursionError."""

    def holds(self, *endings: str) -> bool:
        """Whether the file, or one in the folder, ends so."""
        names = self.names if self.file is None else (self.file,)
        return any(name.lower().endswith(endings) for name in names)

    def head(self) -> bytes:
        """The first bytes of the file; empty for a folder."""
        return b"" if self.file is None else self.head_of(self.file)

    def inside(self, name: str) -> "Found":
        """One of a folder's files, as if the URI named it."""
        return replace(self, file=name, names=())

    @cached_property
    def has_texts_beside(self) -> bool:
        """Whether a picture of the folder has a text of its own name beside it: cat.jpg and cat.txt."""
        pictures = {posixpath.splitext(name)[0] for name in self.names if name.lower().endswith(PICTURES)}
        texts = (posixpath.splitext(name)[0] for name in self.names if name.lower().endswith(".txt"))
        return any(text in pictures and not is_beside_the_point(text) for text in texts)

    def json_with(self, *keys: str) -> bool:
        """Whether the file is a .json with an object that has all of `keys`."""
        if self.file is None or not self.file.lower().endswith(".json"):
            return False
        try:
            document = self.document()
        except (ValueError, RecursionError):
            return False
        return isinstance(document, dict) and all(key in document for key in keys)

    def at_top(self, *endings: str) -> list[str]:
        """The names of a folder's own files, not those of folders in it, that end so."""
        return [name for name in self.names if "/" not in name and name.lower().endswith(endings)]


@dataclass(frozen=True)
class Source:
    """A source of the spec, located."""

    field: str
    """Where it stands in the spec: 'data.train'."""
    spec: DataSource
    store: Store
    """Of the folder: the one named, or the one that holds the file named."""
    key: str
    """The file in `store`, perhaps with braces; '' where the folder itself is the source."""
    stores: Stores
    found: Found
    entries: Callable[[], tuple[Entry, ...]] = tuple
    """All below the folder, where that is the source; listed once, as of many files that takes seconds."""

    def called(self, part: str) -> str:
        """What the user wrote for a part of the spec, such as `where`: `field.where`, or a command's --where."""
        if self.is_of_a_run:
            return f"{self.field}.{part}"
        return f"--{part}" if part in ("format", "images", "where") and self.field != SEARCHED else self.field

    @property
    def is_of_a_run(self) -> bool:
        """Whether the source stands in a run's file."""
        return is_of_a_run(self.field)


@dataclass(frozen=True)
class Rows:
    """An opened source: everything but its rows is known without reading a picture."""

    read: Callable[[], Iterator[Row]]
    """Reads the rows in the data's order, from the start at each call."""
    total: int | None
    """How many rows there are, where that is known beforehand."""
    fingerprint: str
    """Changes when anything changes that `read` would read."""
    where: "Where"
    notes: tuple[str, ...] = ()
    """What the user should know of how the source was understood."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The columns or keys that were taken for image, caption, split and group, where the format has columns."""


@dataclass(frozen=True)
class Reader:
    """A format."""

    formats: tuple[str, ...]
    """Its values of `data.*.format`."""
    describes: str
    """What it reads, for messages."""
    recognises: Callable[[Found], bool]
    open: Callable[[Source], Rows]


@dataclass
class Where:
    """The filter of a source, and the values that it met: a filter that matches nothing is explained by them."""

    wanted: Mapping[str, str]
    met: dict[str, Counter[str]] = field(default_factory=dict)

    def matches(self, value_of: Callable[[str], str | None]) -> bool:
        """Whether a row is wanted; `value_of` gives a column's value, None where the row has none."""
        fits = True
        for name, wanted in self.wanted.items():
            value = value_of(name)
            self.met.setdefault(name, Counter())[_shown(value)] += 1
            fits = fits and value == wanted
        return fits

    def explain(self) -> str:
        """Why nothing matched: 'no row has split = tset (met: train 6000, test 1000)'."""
        parts = []
        for name, wanted in self.wanted.items():
            met = ", ".join(f"{value} {count}" for value, count in self.met.get(name, Counter()).most_common(8))
            parts.append(f"{name} = {wanted} (met: {met or 'nothing'})")
        return "no row has " + " and ".join(parts)


def unusable(where: str, name: str, kind: str, detail: str) -> Row:
    """A row that is bad before its picture is looked at: its `load` says why."""

    def load() -> bytes:
        raise BadRow(kind, detail)

    return Row(where, name, ("",), load, usable=False)


def find_name(names: Mapping[str, object] | list[str], usual: tuple[str, ...]) -> str | None:
    """The first of `usual` among `names`, compared without case, spaces and underscores."""
    known = {_plain(name): name for name in reversed(list(names))}
    return next((known[_plain(name)] for name in usual if _plain(name) in known), None)


def is_beside_the_point(name: str) -> bool:
    """Whether a file is a README or its like."""
    return posixpath.splitext(posixpath.basename(name))[0].lower() in BESIDE_THE_POINT


def natural(name: str) -> list[tuple[int, int | str]]:
    """A sort key by which 2.jpg comes before 10.jpg."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", name) if part]


def is_of_a_run(field: str) -> bool:
    """Whether what messages call a source is a field of a run's file, in place of an option that was typed."""
    return field.startswith("data.")


def missing_field(source: Source, role: str, name: str, known: list[str], subject: str) -> DataInvalid:
    """The refusal of a column that is not there."""
    return DataInvalid(f"{source.called(role)}: {subject} has no column {name!r}; it has {', '.join(known) or 'none'}")


def refuse_images(source: Source) -> None:
    """Raise DataInvalid for a folder of `images` beside data of which no path counts from it: it would do nothing."""
    if source.spec.images is None:
        return
    raise DataInvalid(
        f"{source.called('images')}: relative paths count from {source.spec.images}, and {source.spec.uri} names none: "
        "leave it out"
    )


def refuse_columns(source: Source, format_: str, *roles: str) -> None:
    """Raise DataInvalid for a column of `roles`, which `format_` does not read by a name: it would do nothing."""
    for role in roles:
        if getattr(source.spec.columns, role) is not None:
            raise DataInvalid(
                f"{source.called(f'columns.{role}')}: {source.spec.uri} is read as {format_}, which has no name for "
                f"its {role}: leave it out"
            )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _shown(value: str | None) -> str:
    return "(none)" if value is None else value or "(empty)"
