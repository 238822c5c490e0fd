"""Which splits a source names, and what a run.yaml can follow of that; what it cannot is said."""

import json
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from finetune_trainer.data.files import named
from finetune_trainer.data.parquet import splits_in
from finetune_trainer.data.readers import PICTURES, Rows, Source
from finetune_trainer.data.splitting import split_called
from finetune_trainer.data.types import Row
from finetune_trainer.data.webdataset import SHARDS

Met = Mapping[str | None, int]
"""How often each split's name is met; None: what has none."""
MOST_SHOWN = 8
"""Names of splits."""


@dataclass(frozen=True)
class Splits:
    """What to write down."""

    names: Mapping[str, str] = field(default_factory=dict)
    """What the data calls train, validation and test, as far as it has them; empty where `source` is to be written."""
    column: str | None = None
    """`columns.split` of `source`, where several names mean one split and it so follows them all."""
    unused: tuple[str, ...] = ()
    """What the data says of splits and the file does not follow: a sentence each, in ASCII."""


def splits_of(source: Source, format_: str, rows: Rows, some: Sequence[Row], *, everything: bool) -> Splits:
    """Read the names of all splits, where they can be known without the pictures. `everything`: `some` are all rows.

    Raises DataInvalid for a broken Parquet file, and the storage's errors.
    """
    met: Counter[str | None] = Counter(row.split for row in some)
    if everything:
        return _followed(met, rows.fields)
    if format_ == "parquet":
        return _followed(splits_in(source, rows.fields.get("split")), rows.fields)
    keys = named(source) if source.key else [entry.key for entry in source.entries()]
    if format_ == "folder":
        return _followed(Counter(map(_first_folder, _ending(keys, PICTURES))), rows.fields)
    shards = _ending(keys, SHARDS)
    folders = Counter(map(_first_folder, shards))
    told_inside = bool(met.keys() - folders.keys() - {None})
    del folders[None]  # what lies in none may have its split inside
    splits = _followed(met | folders, rows.fields)
    return replace(splits, unused=(*splits.unused, *_of_shards(shards, len(some) if told_inside else 0)))


def _followed(met: Met, fields: Mapping[str, str]) -> Splits:
    """Filters by one name each; `source` where several names mean one split and a column tells every row's."""
    by_split: defaultdict[str | None, list[str]] = defaultdict(list)
    for name in sorted(filter(None, met), key=lambda name: (-met[name], name != split_called(name), name)):
        by_split[split_called(name)].append(name)
    unknown = by_split.pop(None, [])
    if not {"train", "test"} <= by_split.keys():
        names = [name for name in met if name]
        # One name is that of all; and folders that are called otherwise are no splits, as what a column calls so is.
        is_told = len(names) > 1 and (bool(by_split) or "split" in fields)
        return Splits(unused=(_no_pair(names),) if is_told else ())
    several = {split: names for split, names in by_split.items() if len(names) > 1}
    column = fields.get("split") if fields else "split"
    if several and column is not None and not unknown and not met.get(None):
        return Splits(column=column)
    chosen = {split: by_split[split][0] for split in ("train", "validation", "test") if split in by_split}
    left = [
        f"{_shown(names[1:])} means {ours} as {_shown(names[:1])} does, and is left out: use one name in the data"
        for ours, names in several.items()
    ]
    if unknown:
        left.append(f"{_shown(unknown)} is none of train, validation and test, and is left out: rename it in the data")
    if met.get(None):
        left.append("what has no split is left out: name its split in the data")
    return Splits(chosen, unused=tuple(left))


def _no_pair(names: Sequence[str]) -> str:
    return (
        f"the data's splits are {_shown(names)}, of which train and test are not both known, so all is split anew: "
        "set data.train and data.test with `where: {split: NAME}` to keep them"
    )


def _of_shards(shards: Sequence[str], looked_at: int) -> list[str]:
    """`looked_at`: how many samples were, where splits stand in them; 0 where they do not."""
    notes = []
    if looked_at:
        notes.append(
            f"splits stand in the samples, of which the first {looked_at:,} were looked at: where others follow, set "
            "data.train, data.validation and data.test with `where: {split: NAME}`"
        )
    first_words = {re.split(r"[^A-Za-z]", posixpath.basename(key))[0] for key in shards if "/" not in key}
    if len({split_called(word) for word in first_words} - {None}) > 1:
        notes.append(
            "the names of shards tell splits and are not followed: give data.train and data.test each its own shards "
            "as uri, such as train-{000..099}.tar"
        )
    return notes


def _ending(keys: Sequence[str], endings: tuple[str, ...]) -> list[str]:
    return [key for key in keys if key.lower().endswith(endings)]


def _first_folder(key: str) -> str | None:
    head, slash, _ = key.partition("/")
    return head if slash else None


def _shown(names: Sequence[str]) -> str:
    """Any name as one line of ASCII, which a comment can hold."""
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(json.dumps(name) for name in names[:MOST_SHOWN]) + more
