"""Queries that show what changed: the largest wins and losses, with what they found before and after."""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finetune_trainer.data.types import Split
from finetune_trainer.evaluation.measure import Measured
from finetune_trainer.records import Examples, QueryExample

QUERIES = 10
"""Wins, and losses, at most."""
SIDE = 128
"""Longest side of a thumbnail, in pixels."""
QUALITY = 80
"""Of the thumbnails' JPEG: about 4 kB each."""


def find_examples(before: Measured, after: Measured, split: Split) -> Examples:
    """The ten captions that climbed furthest and the ten that fell furthest, at most one for each picture.

    How far is the ratio of ranks: from 100 to 1 is further than from 1000 to 900. The same inputs give the same bytes.
    """
    ranks_before, ranks_after = before.retrieval.images.ranks, after.retrieval.images.ranks
    climbed = np.log(ranks_before) - np.log(ranks_after)
    owner = before.retrieval.image_of_caption
    labels = _labels([image.name for image in split.images])
    captions = split.captions

    def example(query: int) -> QueryExample:
        return QueryExample(
            caption=captions[query],
            image=labels[owner[query]],
            rank_before=int(ranks_before[query]),
            rank_after=int(ranks_after[query]),
            top_before=[labels[image] for image in before.top[query]],
            top_after=[labels[image] for image in after.top[query]],
        )

    wins, losses = _furthest(climbed, owner), _furthest(-climbed, owner)
    shown = {int(image) for query in wins + losses for image in (owner[query], *before.top[query], *after.top[query])}
    return Examples(
        wins=[example(query) for query in wins],
        losses=[example(query) for query in losses],
        thumbnails={labels[image]: thumbnail(split.pixels.evaluation(image)) for image in sorted(shown)},
    )


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """(H, W, 3) as a base64 JPEG of at most SIDE pixels a side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _furthest(distance: NDArray[np.float64], owner: NDArray[np.int64]) -> list[int]:
    """At most QUERIES queries, furthest first and only where `distance` (M,) is above 0, each of another image."""
    order = np.argsort(-distance, kind="stable")
    return _first_of_each((int(query) for query in order if distance[query] > 0), owner)


def _first_of_each(queries: Iterable[int], owner: NDArray[np.int64]) -> list[int]:
    chosen: dict[int, int] = {}
    for query in queries:
        chosen.setdefault(int(owner[query]), query)
        if len(chosen) == QUERIES:
            break
    return list(chosen.values())


def _labels(names: Sequence[str]) -> list[str]:
    """The names, made distinct by their position where several pictures share one."""
    often = Counter(names)
    return [name if often[name] == 1 else f"{name} (picture {index + 1})" for index, name in enumerate(names)]
