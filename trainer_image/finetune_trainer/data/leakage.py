"""Training pictures that are also in the validation or test set: they would make the number better than the model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.hashing import near_pairs, tells
from finetune_trainer.data.types import Image
from finetune_trainer.records import Leak


def find_leaks(train: Sequence[Image], other: Sequence[Image], split: str) -> dict[int, Leak]:
    """By index in `train`: the picture of `other`, called `split`, that it repeats.

    The strongest proof is told: equal bytes, equal pixels, else a difference hash at most 4 bits away. Flat pictures,
    whose hashes are all alike, leak by bytes or pixels only.
    """
    by_bytes = {image.sha256: image for image in reversed(other)}
    by_pixels = {image.pixels_sha256: image for image in reversed(other)}
    by_hash = _near_of_hash(train, other)
    leaks = {}
    for index, image in enumerate(train):
        if match := by_bytes.get(image.sha256):
            leaks[index] = Leak(train=image.where, other=match.where, split=split, kind="bytes")
        elif match := by_pixels.get(image.pixels_sha256):
            leaks[index] = Leak(train=image.where, other=match.where, split=split, kind="pixels")
        elif match := by_hash.get(image.dhash):
            leaks[index] = Leak(train=image.where, other=match.where, split=split, kind="near")
    return leaks


def _near_of_hash(train: Sequence[Image], other: Sequence[Image]) -> dict[int, Image]:
    """The first near image of `other` by the hash of a training image."""
    image_of = {image.dhash: image for image in reversed(other)}
    left, right = _telling(train), _telling(other)
    near: dict[int, Image] = {}
    for one, two in near_pairs(left, right):
        near.setdefault(int(left[one]), image_of[int(right[two])])
    return near


def _telling(images: Sequence[Image]) -> NDArray[np.uint64]:
    hashes = np.unique(np.array([image.dhash for image in images], np.uint64))
    return hashes[tells(hashes)]
