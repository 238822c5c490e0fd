"""How sure a gain is: a paired bootstrap over images.

An image is drawn with all its queries, since the captions of one picture hit and miss together: over captions, a
95 % interval covered 88 % (measured). Both models are judged on the same draws, so what they share cancels.
Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 (clusters) and 13 (percentiles).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.records import Interval

DRAWS = 10_000
FEW_IMAGES = 200
"""Below this an interval is wide and its coverage rough; the user is told."""
WEIGHTS = 1 << 22
"""Weights held at once (32 MiB of int64)."""
EXCLUDES = (
    "The intervals cover the choice of test pictures, not the seed: another seed, order or split of the same training "
    "would move the figures too."
)
"""What the interval leaves out; said wherever it is shown."""


@dataclass(frozen=True)
class _PerImage:
    """Queries gathered by their image; (images,) int64."""

    queries: NDArray[np.int64]
    gained: NDArray[np.int64]
    """Hits after less hits before."""


def bootstrap_gain(
    hits_before: NDArray[np.bool_],
    hits_after: NDArray[np.bool_],
    image_of_query: NDArray[np.int64],
    n_images: int,
    seed: int,
    draws: int = DRAWS,
) -> Interval:
    """The central 95 % of recall after less recall before, over `draws` redrawn sets of `n_images` images.

    Hits are (Q,), query by query; `image_of_query` (Q,) below `n_images`. A drawn set's recall is its sum of hits over
    its sum of queries. The same arguments give the same bits.
    """
    images = _per_image(hits_before, hits_after, image_of_query, n_images)
    random = np.random.default_rng(seed)
    # Images with equal (queries, gained) are interchangeable: one weight for each kind of image, not for each image.
    kinds, sizes = np.unique(np.stack([images.queries, images.gained]), axis=1, return_counts=True)
    block = max(1, WEIGHTS // len(sizes))
    gains = []
    for start in range(0, draws, block):
        weights = random.multinomial(n_images, sizes / n_images, size=min(block, draws - start))
        gains.append((weights @ kinds[1]) / np.maximum(weights @ kinds[0], 1))
    low, high = np.quantile(np.concatenate(gains), [0.025, 0.975])
    return Interval(low=float(low), high=float(high), draws=draws, images=n_images)


def influence(differences: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """(images,) what each image adds to the error of sum(differences) over sum(sizes): the ratio, linearised.

    Source: Cochran, Sampling Techniques (1977), section 6.4. Influences of several ratios may be averaged.
    """
    residuals: NDArray[np.float64] = (differences - differences.sum() / sizes.sum() * sizes) / sizes.sum()
    return residuals


def standard_error(influences: NDArray[np.float64]) -> float:
    """Of the figure whose influences (images,) these are. 1.0, all that recall can differ by, for a single image."""
    n = len(influences)
    return float(np.sqrt(n / (n - 1) * np.square(influences).sum())) if n > 1 else 1.0


def interval_notes(n_images: int) -> list[str]:
    """What a person should know beside the intervals, a sentence each."""
    if n_images >= FEW_IMAGES:
        return [EXCLUDES]
    few = f"Only {n_images} test pictures: the intervals are wide and rough, {FEW_IMAGES} or more make them reliable."
    return [few, EXCLUDES]


def _per_image(
    before: NDArray[np.bool_], after: NDArray[np.bool_], image_of_query: NDArray[np.int64], n_images: int
) -> _PerImage:
    gained = after.astype(np.int64) - before.astype(np.int64)
    return _PerImage(
        queries=np.bincount(image_of_query, minlength=n_images),
        gained=np.bincount(image_of_query, weights=gained, minlength=n_images).astype(np.int64),
    )
