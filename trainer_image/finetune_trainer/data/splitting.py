"""Which pictures train, validate and test, as pure functions of the pictures themselves.

Pictures are ordered by hash and the first ones are held out. So a picture's place depends on itself and on how many are
held out, not on the order of rows: rows added elsewhere move no picture from one side to the other and back.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.hashing import near_pairs, tells
from finetune_trainer.data.types import Image

MOST_VALIDATION = 1000
MOST_TEST = 5000
LEAST_HELD_OUT = 200
LARGEST_SHARE = 5
"""At most one in 5 pictures is held out for each."""
FEWEST = 2
"""Images of a split: with one candidate every recall is 1."""
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "restval": "train",  # Karpathy's: left over from COCO's validation set, and meant for training
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What data calls its splits, and what they are here."""


def split_called(name: str | None) -> str | None:
    """The split that data calls `name`; None where that is none of SPLIT_NAMES."""
    return SPLIT_NAMES.get((name or "").strip().casefold())


def held_out(images: int, most: int) -> int:
    """How many of `images` to hold out: a tenth, at least 200, at most `most` and a fifth."""
    return min(max(round(images / 10), LEAST_HELD_OUT), most, images // LARGEST_SHARE)


def split_source(images: Sequence[Image], seed: int) -> dict[str, list[int]]:
    """Indices of train, validation and test, each in order. Test is the same for any seed, so runs can be compared.

    Raises DataInvalid where there are too few pictures, or too few that are not alike.
    """
    test = choose(images, held_out(len(images), MOST_TEST), "test")
    rest = np.flatnonzero(~test)
    others = [images[i] for i in rest.tolist()]
    validation = choose(others, held_out(len(images), MOST_VALIDATION), f"validation {seed}")
    splits = {
        "train": rest[~validation].tolist(),
        "validation": rest[validation].tolist(),
        "test": np.flatnonzero(test).tolist(),
    }
    _check_enough("data.source", images, splits, "give more pictures, or data.train and data.test")
    return splits


def carve_validation(images: Sequence[Image], seed: int) -> dict[str, list[int]]:
    """Indices of train and validation, where no validation set was given. Raises DataInvalid where too few are left."""
    chosen = choose(images, held_out(len(images), MOST_VALIDATION), f"validation {seed}")
    splits = {"train": np.flatnonzero(~chosen).tolist(), "validation": np.flatnonzero(chosen).tolist()}
    _check_enough("data.train", images, splits, "give more pictures, or data.validation")
    return splits


def split_by_field(images: Sequence[Image]) -> dict[str, list[int]]:
    """Indices by the split that the data itself names; 'validation' is absent where it names none.

    Raises DataInvalid for a name that is not known and where train or test has too few.
    """
    splits: dict[str, list[int]] = {"train": [], "test": []}
    for index, image in enumerate(images):
        name = split_called(image.split)
        if name is None:
            raise DataInvalid(
                f"{image.where}: its split is {image.split or ''!r}, which is none of {', '.join(SPLIT_NAMES)}: give "
                f"data.train and data.test with `where` in place of data.source"
            )
        splits.setdefault(name, []).append(index)
    for name, chosen in splits.items():
        if len(chosen) < FEWEST:
            raise DataInvalid(f"data.source: its split column gives {name} {len(chosen)} pictures; {FEWEST} at least")
    return splits


def choose(images: Sequence[Image], count: int, salt: str) -> NDArray[np.bool_]:
    """(N,) at most `count` images, by hash, never a part of what belongs together: what does not fit is passed over."""
    labels = together(images)
    keys: dict[int, str] = {}
    for image, label in zip(images, labels.tolist(), strict=True):
        key = hashlib.sha256(f"{salt}:{image.pixels_sha256}".encode()).hexdigest()
        keys[label] = min(key, keys.get(label, key))
    sizes = np.bincount(labels, minlength=1)
    chosen = np.zeros(len(sizes), bool)
    left = count
    for label in sorted(keys, key=lambda label: keys[label]):
        if sizes[label] <= left:
            chosen[label] = True
            left -= int(sizes[label])
    return chosen[labels]


def together(images: Sequence[Image]) -> NDArray[np.int64]:
    """(N,) a label for each image, equal where images share a group or are near duplicates, over any chain of these."""
    parents = list(range(len(images)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    def join(one: int, other: int) -> None:
        one, other = sorted((root(one), root(other)))
        parents[other] = one

    first_of_group: dict[str, int] = {}
    first_of_hash: dict[int, int] = {}
    telling = tells(np.array([image.dhash for image in images], np.uint64))
    for index, image in enumerate(images):
        if image.group is not None:
            join(index, first_of_group.setdefault(image.group, index))
        if telling[index]:
            join(index, first_of_hash.setdefault(image.dhash, index))
    hashes = np.fromiter(first_of_hash, np.uint64, len(first_of_hash))
    members = list(first_of_hash.values())
    for one, other in near_pairs(hashes, hashes):
        join(members[one], members[other])
    return np.array([root(index) for index in range(len(images))], np.int64)


def _check_enough(field: str, images: Sequence[Image], splits: dict[str, list[int]], remedy: str) -> None:
    for name, chosen in splits.items():
        if len(chosen) < FEWEST:
            raise DataInvalid(
                f"{field}: {len(images)} usable pictures leave {len(chosen)} for {name}, and {FEWEST} are the least "
                f"(pictures of one group, or nearly alike, stay together): {remedy}"
            )
