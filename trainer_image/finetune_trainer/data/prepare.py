"""The stage `prepare`: sources to train, validation and test, each picture read and decoded once.

What was read of a source is kept in `cache_root`, under a digest of all that decides it: the source's spec, the model's
input, and size and etag of every object read. So a second run reads no picture, and a changed one is seen.
"""

from dataclasses import dataclass
from pathlib import Path

from finetune_sdk.api.data import MAX_BAD_FRACTION, Data, DataSource
from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.cached import Prepared, folders_of, from_cache, keep
from finetune_trainer.data.captions import count_truncated
from finetune_trainer.data.formats import open_rows
from finetune_trainer.data.index import MOST_LISTED, build_index, check_index, default_workers, digest_images
from finetune_trainer.data.leakage import find_leaks
from finetune_trainer.data.places import Stores
from finetune_trainer.data.room import Parts, Room, RoomyWriter
from finetune_trainer.data.splitting import FEWEST, carve_validation, split_by_field, split_source
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import Preprocess, Tokenizer
from finetune_trainer.progress import Progress
from finetune_trainer.records import DataReport, Leak, SplitSummary

BY_THE_DISK = Room()


@dataclass(frozen=True)
class Dataset:
    """The pictures and captions of a run."""

    train: Split
    validation: Split
    test: Split
    report: DataReport


@dataclass(frozen=True)
class Limits:
    """What a tokenizer keeps of a caption."""

    tokenize: Tokenizer
    context_length: int


def prepare_data(
    data: Data,
    preprocess: Preprocess,
    *,
    seed: int,
    cache_root: Path,
    stores: Stores,
    progress: Progress,
    limits: Limits | None = None,
    room: Room = BY_THE_DISK,
) -> Dataset:
    """Read, check, split and cache the data of a run. `seed` chooses validation where none is given, never test.

    `limits`: count the captions that the tokenizer cuts. `room` decides how training pictures are kept. Raises
    DataInvalid for data that cannot be used, the storage's errors, and whatever `progress` raises to stop; what is
    half done is then done again.
    """
    most_bad = data.max_bad_fraction
    sources = {name: spec for name in ("source", "train", "validation", "test") if (spec := getattr(data, name))}
    kept = {
        name: read_source(
            f"data.{name}",
            spec,
            preprocess,
            _parts_of(name, data),
            most_bad=most_bad,
            cache_root=cache_root,
            stores=stores,
            progress=progress,
            room=room,
        )
        for name, spec in sources.items()
    }
    splits, leaks = _splits(data, kept, seed)
    splits |= {name: _in_canonical_order(splits[name]) for name in ("train", "validation")}
    if leaks:
        verb = "dropped from train" if data.leakage == "drop" else "left in train, as data.leakage says"
        progress.note(f"{len(leaks)} pictures are also in test or validation, or nearly alike: {verb}")
    report = _report(kept, splits, leaks, data.leakage, limits)
    return Dataset(splits["train"], splits["validation"], splits["test"], report)


def prepare_test(
    source: DataSource,
    preprocess: Preprocess,
    *,
    cache_root: Path,
    stores: Stores,
    progress: Progress,
    max_bad_fraction: float = MAX_BAD_FRACTION,
    field: str = "data.test",
    limits: Limits | None = None,
) -> tuple[Split, DataReport]:
    """All of one source as a test set, for measuring a model by itself. `field`: what messages call the source."""
    kept = read_source(
        field,
        source,
        preprocess,
        Parts(evaluation=True, whole=False),
        most_bad=max_bad_fraction,
        cache_root=cache_root,
        stores=stores,
        progress=progress,
    )
    test = kept.split("test")
    _check_given(test, field)
    return test, _report({"test": kept}, {"test": test}, [], "report", limits)


def read_source(
    field: str,
    spec: DataSource,
    preprocess: Preprocess,
    parts: Parts,
    *,
    most_bad: float,
    cache_root: Path,
    stores: Stores,
    progress: Progress,
    room: Room = BY_THE_DISK,
) -> Prepared:
    """A source's index and pixels, from the cache where they are there; in the form that `room` decides.

    Raises DataInvalid where more than `most_bad` of the rows are bad.
    """
    rows = open_rows(field, spec, stores)
    for note in rows.notes:
        progress.note(note)
    if not parts.whole:
        room = Room(form="raw")
    folders = folders_of(cache_root, spec, preprocess, parts, rows.fingerprint)
    cached = (from_cache(folders[form], preprocess) for form in room.forms())
    prepared = next((found for found in cached if found is not None), None)
    if prepared is None:
        progress.start("prepare", rows.total, "images")
        with RoomyWriter(folders, preprocess, parts, room, rows.total, progress) as writer:
            index = build_index(rows.read(), writer, progress, default_workers(local=_is_local(spec)))
            prepared = keep(index, writer.close(), folders[writer.form])
    else:
        progress.start("prepare", prepared.index.rows_read, "images", done=prepared.index.rows_read)
    empty = rows.where.explain() if spec.where and not rows.total else f"{spec.uri} holds no rows"
    check_index(prepared.index, field, most_bad, empty)
    return prepared


def _is_local(spec: DataSource) -> bool:
    return all(uri.startswith("file://") for uri in (spec.uri, spec.images or spec.uri))


def _parts_of(name: str, data: Data) -> Parts:
    """Of a training set that needs no validation carved from it nothing is evaluated, and all is trained on."""
    if name == "train" and data.validation is not None:
        return Parts(evaluation=False, whole=True)
    return Parts(evaluation=True, whole=name in ("source", "train"))


def _splits(data: Data, kept: dict[str, Prepared], seed: int) -> tuple[dict[str, Split], list[Leak]]:
    """The three splits, and what leaked between those that were given."""
    if data.source is not None:
        source = kept["source"]
        if data.source.columns.split is None:
            chosen = split_source(source.index.images, seed)
            return {name: source.split(name, indices) for name, indices in chosen.items()}, []
        given = {name: source.split(name, indices) for name, indices in split_by_field(source.index.images).items()}
    else:
        given = {name: prepared.split(name) for name, prepared in kept.items()}
        for name, split in given.items():
            _check_given(split, f"data.{name}")
    leaks: list[Leak] = []
    for name, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if name in given and other in given:
            found = find_leaks(given[name].images, given[other].images, other)
            leaks += found.values()
            if data.leakage == "drop" and found:
                given[name] = _without(given[name], set(found), other)
    if "validation" not in given:
        train = given["train"]
        carved = carve_validation(train.images, seed)
        given |= {name: train.part(indices, name) for name, indices in carved.items()}
    return given, leaks


def _in_canonical_order(split: Split) -> Split:
    """By pixels digest: one set trains to the same weights in any format and after its rows were sorted anew.

    Not for test, where ties must fall as CLIP Benchmark's fall on the same shards: it keeps the order of the data.
    """
    order = sorted(range(len(split.images)), key=lambda index: split.images[index].pixels_sha256)
    return split.part(order)


def _without(split: Split, dropped: set[int], other: str) -> Split:
    left = [index for index in range(len(split.images)) if index not in dropped]
    if len(left) < FEWEST:
        raise DataInvalid(
            f"data.{split.name}: {len(dropped)} of its {len(split.images)} pictures are also in {other}, or nearly "
            f"alike, and {len(left)} are left: give other pictures, or set data.leakage to report"
        )
    return split.part(left)


def _check_given(split: Split, field: str) -> None:
    if len(split.images) < FEWEST:
        raise DataInvalid(f"{field}: {len(split.images)} usable picture is too few: give {FEWEST} at least")


def _report(
    kept: dict[str, Prepared], splits: dict[str, Split], leaks: list[Leak], leakage: str, limits: Limits | None
) -> DataReport:
    problems = [problem for prepared in kept.values() for problem in prepared.index.problems]
    oddities: dict[str, int] = {}
    for prepared in kept.values():
        for kind, count in prepared.index.oddities.items():
            oddities[kind] = oddities.get(kind, 0) + count
    if limits is not None:
        captions = [caption for split in splits.values() for caption in split.captions]
        cut = count_truncated(captions, limits.tokenize, limits.context_length)
        oddities |= {"truncated-caption": cut} if cut else {}
    return DataReport(
        splits={
            name: SplitSummary(
                images=len(split.images), captions=len(split.captions), digest=digest_images(split.images)
            )
            for name, split in splits.items()
        },
        rows_read=sum(prepared.index.rows_read for prepared in kept.values()),
        rows_bad=sum(prepared.index.rows_bad for prepared in kept.values()),
        problems=problems[:MOST_LISTED],
        oddities=dict(sorted(oddities.items())),
        leaks=leaks[:MOST_LISTED],
        leaks_total=len(leaks),
        leakage="drop" if leakage == "drop" else "report",
        cache_bytes=sum(prepared.cache_bytes for prepared in kept.values()),
        pictures="jpeg" if any(prepared.pixels.form == "jpeg" for prepared in kept.values()) else "raw",
        pixel_bytes=sum(prepared.pixels.pixel_bytes for prepared in kept.values()),
    )
