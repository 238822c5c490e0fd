"""One pass over a source: read, hash, decode and cache every picture, and count what is wrong with it."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.ahead import ahead
from finetune_trainer.data.captions import clean_captions
from finetune_trainer.data.decode import decode, decode_pixels, quiet_pillow
from finetune_trainer.data.hashing import bytes_digest, dhash, pixels_digest
from finetune_trainer.data.pixels import Made
from finetune_trainer.data.readers import is_of_a_run
from finetune_trainer.data.types import BadRow, Image, Row
from finetune_trainer.progress import Progress
from finetune_trainer.records import Problem

MOST_LISTED = 1000
"""Problems that are kept with their rows; all are counted."""
MOST_TOLD = 5
"""Of these, in an error's message."""
REMEDIES = {
    "missing-image": "compare the paths with what lies there: `images` is the folder they count from",
    "image-url": "fetch the pictures first, for instance with img2dataset, and give its shards as uri",
    "no-caption": "give each picture a caption, or take it out",
    "empty-caption": "give each picture a caption, or take it out",
    "wrong-encoding": "save the text as UTF-8 (iconv -f CP1252 -t UTF-8)",
    "bad-row": "put captions with commas or line breaks in quotes",
    "huge-image": "make huge pictures smaller",
    "unsafe-member": "pack the shards again from plain files with relative names",
    "scattered-sample": "pack the shards again with tar --sort=name: the files of a sample must be neighbours",
}
"""What to do, by the kind of problem."""


class Writer(Protocol):
    """What the index needs of a pixel writer."""

    @property
    def needs_image(self) -> bool:
        """Whether `make` is to be given the picture as Pillow's image too."""
        ...

    def make(self, pixels: NDArray[np.uint8], image: Pictures.Image | None) -> Made:
        """What is kept of a picture; called from any thread. Raises BadRow for one that cannot be kept."""
        ...

    def append(self, made: Made) -> int:
        """Keep it; give its place, counted from 0."""
        ...


@dataclass(frozen=True)
class Index:
    """What a source holds. `images[i]` is picture i of the pixel cache."""

    images: tuple[Image, ...]
    rows_read: int
    """Pictures with their captions, bad ones too: rows that share a picture's path are one."""
    problems: tuple[Problem, ...]
    """The first 1,000."""
    kinds: dict[str, int]
    """All bad rows by kind."""
    oddities: dict[str, int]

    @property
    def rows_bad(self) -> int:
        return sum(self.kinds.values())


@dataclass(frozen=True)
class _Usable:
    image: Image
    made: Made
    counts: Counter[str]


@dataclass
class _Building:
    """An index under way."""

    images: list[Image] = field(default_factory=list)
    place_of: dict[str, int] = field(default_factory=dict)
    """By pixels digest."""
    same_group: list[tuple[str, str]] = field(default_factory=list)
    rows_read: int = 0
    problems: list[Problem] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    oddities: Counter[str] = field(default_factory=Counter)


def build_index(rows: Iterable[Row], writer: Writer, progress: Progress, workers: int) -> Index:
    """Index all of `rows` in their order. `workers`: threads that read and decode ahead; the result is the same.

    The order of the data is kept, not a canonical one: recall at ties depends on the candidates' order, so a figure
    equals the one that CLIP Benchmark gives for the same shards only in the shards' own order.
    Pictures with equal pixels become one, with the captions of all; its place is the first one's.
    """
    building = _Building()
    with quiet_pillow():
        for row, looked_at in ahead(partial(_examine, writer), rows, workers):
            building.rows_read += 1
            try:
                if isinstance(looked_at, BadRow):
                    raise looked_at
                _add(building, looked_at, writer)
            except BadRow as bad:
                building.kinds[bad.kind] += 1
                if len(building.problems) < MOST_LISTED:
                    building.problems.append(Problem(kind=bad.kind, where=row.where, detail=bad.detail))
            progress.advance()
    images = _with_joined_groups(building.images, building.same_group)
    problems, kinds, oddities = tuple(building.problems), dict(building.kinds), dict(building.oddities)
    return Index(images, building.rows_read, problems, kinds, oddities)


def check_index(index: Index, field_name: str, most_bad: float, empty: str) -> None:
    """Raises DataInvalid where more than `most_bad` (a share) of the rows are bad, or none is usable.

    `empty` says why no row was read at all.
    """
    if index.rows_read == 0:
        raise DataInvalid(f"{field_name}: {empty}")
    if index.rows_bad / index.rows_read <= most_bad and index.images:
        return
    of_a_run = is_of_a_run(field_name)  # else there is no data.maxBadFraction to speak of
    raise too_many_bad(
        field_name,
        index.rows_read,
        index.problems,
        index.kinds,
        f"data.maxBadFraction allows ({most_bad:.2%})" if of_a_run else f"the {most_bad:.0%} that is left out",
        "or raise data.maxBadFraction to go on without these rows" if of_a_run else None,
    )


def too_many_bad(
    field_name: str,
    rows_read: int,
    problems: Sequence[Problem],
    kinds: Mapping[str, int],
    allowed: str,
    resort: str | None = None,
) -> DataInvalid:
    """The refusal of a source for its bad rows: the first of them, and what would help; a `resort` is said last."""
    told = [f"  {problem.where}: {problem.kind}: {problem.detail}" for problem in problems[:MOST_TOLD]]
    bad = sum(kinds.values())
    more = bad - len(told)
    common = Counter(kinds).most_common()
    remedies = [REMEDIES.get(kind, "mend or remove these rows") for kind, _ in common]
    lines = [
        f"{field_name}: {bad} of {rows_read} rows cannot be used ({bad / rows_read:.2%}), more than {allowed}:",
        *told,
        *([f"  and {more} more"] if more else []),
        "By kind: " + ", ".join(f"{kind} {count}" for kind, count in common),
        "; ".join(dict.fromkeys(filter(None, [*remedies, resort]))),
    ]
    return DataInvalid("\n".join(lines))


def digest_images(images: Sequence[Image]) -> str:
    """SHA-256 over each image's pixels digest and captions, by pixels digest: equal for one set in any format.

    Formats list one set in different orders (a folder by name, a table as written), so the order is left out here.
    Of test, where it decides ties, the evaluation's queries digest holds it.
    """
    digest = hashlib.sha256()
    for image in sorted(images, key=lambda image: image.pixels_sha256):
        digest.update("\n".join([image.pixels_sha256, *image.captions, ""]).encode() + b"\n")
    return digest.hexdigest()


def _examine(writer: Writer, row: Row) -> tuple[Row, _Usable | BadRow]:
    """All that can be done to a row by itself; runs in threads."""
    try:
        if not row.usable:
            row.load()
        captions, counts = clean_captions(row.captions)
        data = row.load()
        image, pixels, oddities = _decoded(data, writer.needs_image)
        made = writer.make(pixels, image)
    except BadRow as bad:
        return row, bad
    counts.update(oddities)
    described = Image(
        where=row.where,
        name=row.name,
        captions=captions,
        sha256=bytes_digest(data),
        pixels_sha256=pixels_digest(pixels),
        dhash=dhash(pixels),
        group=row.group,
        split=row.split,
    )
    return row, _Usable(described, made, counts)


def _decoded(data: bytes, as_image: bool) -> tuple[Pictures.Image | None, NDArray[np.uint8], tuple[str, ...]]:
    if as_image:
        image, oddities = decode(data)
        return image, np.array(image), oddities
    return None, *decode_pixels(data)


def _add(building: _Building, usable: _Usable, writer: Writer) -> None:
    image = usable.image
    place = building.place_of.get(image.pixels_sha256)
    if place is None:
        building.place_of[image.pixels_sha256] = writer.append(usable.made)
        building.images.append(image)
    else:
        first = building.images[place]
        captions = tuple(dict.fromkeys([*first.captions, *image.captions]))
        if first.group is not None and image.group is not None:
            building.same_group.append((first.group, image.group))
        split = first.split if first.split == image.split else _later_used(first.split, image.split)
        building.images[place] = replace(first, captions=captions, group=first.group or image.group, split=split)
        building.oddities["duplicate-image"] += 1
    building.oddities.update(usable.counts)


def _later_used(*splits: str | None) -> str | None:
    """The side on which a picture of two splits must be: never in train if it also tests."""
    order = ("test", "testing", "val", "valid", "validation", "dev")
    named = [name for name in splits if name is not None]
    return min(named, key=lambda name: order.index(name.casefold()) if name.casefold() in order else len(order))


def _with_joined_groups(images: list[Image], same: list[tuple[str, str]]) -> tuple[Image, ...]:
    """Groups that share a picture become one."""
    if not same:
        return tuple(images)
    leader: dict[str, str] = {}

    def lead(group: str) -> str:
        while group in leader:
            group = leader[group]
        return group

    for one, other in same:
        first, second = sorted((lead(one), lead(other)))
        if first != second:
            leader[second] = first
    return tuple(replace(image, group=None if image.group is None else lead(image.group)) for image in images)


def default_workers(*, local: bool = False) -> int:
    """Threads that read and decode: twice the cores, a few at least, for most of them wait for storage.

    On a `local` disk one waits and each of the others has a core: more would only take Python's lock from each other
    (`benchmarks/preparing.py`).
    """
    cores = os.cpu_count() or 1
    return min(32, cores + 1 if local else max(4, 2 * cores))
