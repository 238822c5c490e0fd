"""Retrieval recall in bounded memory, equal in every bit to CLIP Benchmark's.

N images, M texts (captions), D embedding width. `scores[M, N]` is texts @ images.T. Image retrieval asks for each text:
is its image among the k best of its row? Text retrieval asks for each image: is any of its texts among the k best of
its column? Source: clip_benchmark 1.6.2, metrics/zeroshot_retrieval.py; its `torch.topk` settles ties, so ours must.

No row is sorted. A query is hit at k if fewer than k candidates score above its best positive, which one comparison
and one sum tell for every k at once. Where candidates that are not positives tie with it, and it depends on their order
whether a positive is in, the whole row goes through `torch.topk`, once for each k, as topk(10)[:5] is not topk(5).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune_sdk.errors import DataInvalid, InvalidSpec, WeightsInvalid
from finetune_trainer.progress import UNSEEN, Progress
from finetune_trainer.records import Recalls, Ties

BLOCK = 384
"""Fewest rows or columns of one product, where there are as many. MKL computes small products, and the few last rows of
one, by other kernels with other last bits. Measured (torch 2.15, 1 and 2 threads, 120 shapes): products of 192 or more
rows and columns, the rest joined to the last one, hold the bits of the whole product."""
PANEL = 1 << 22
"""Scores held at once (16 MiB of float32) where that makes more than BLOCK rows: larger is no faster."""
CACHED = 1 << 18
"""Scores compared at once (1 MiB): while the processor's cache holds them, comparing takes a fifth of the time."""


Hits = dict[int, NDArray[np.bool_]]
"""By k, for each query: is a positive among the k best?"""


@dataclass(frozen=True)
class Direction:
    """One direction's outcome, query by query; Q queries."""

    hits: Hits
    """(Q,) as CLIP Benchmark decides, also at ties."""
    optimistic: Hits
    """(Q,) if positives came first among equal scores."""
    pessimistic: Hits
    """(Q,) if positives came last among equal scores."""
    ranks: NDArray[np.int64]
    """(Q,) of the best positive, 1 is best; equal scores of others count against it."""
    tied: NDArray[np.bool_]
    """(Q,) where a candidate that is no positive scores exactly as the best positive."""


@dataclass(frozen=True)
class Retrieval:
    """Both directions on one set of candidates."""

    images: Direction
    """Image retrieval: a query is a text."""
    texts: Direction
    """Text retrieval: a query is an image."""
    image_of_caption: NDArray[np.int64]
    """(M,) the image of each text."""
    ks: tuple[int, ...]

    @property
    def recalls(self) -> Recalls:
        """By CLIP Benchmark's names, equal to its figures with ==."""
        return self._recalls("hits")

    @property
    def ties(self) -> Ties:
        """How far equal scores leave the figures open, both directions counted."""
        return Ties(
            queries=int(self.images.tied.sum() + self.texts.tied.sum()),
            optimistic=self._recalls("optimistic"),
            pessimistic=self._recalls("pessimistic"),
        )

    def hits(self, metric: str) -> NDArray[np.bool_]:
        """(Q,) the hits behind a metric by its name, as in `recalls`."""
        direction, k = metric.split("_retrieval_recall@")
        return {"image": self.images, "text": self.texts}[direction].hits[int(k)]

    def image_of_query(self, metric: str) -> NDArray[np.int64]:
        """(Q,) the image that each query of a metric belongs to: what the bootstrap draws."""
        n_images = len(self.texts.ranks)
        return self.image_of_caption if metric.startswith("image") else np.arange(n_images)

    def _recalls(self, kind: str) -> Recalls:
        recalls: Recalls = {}
        for k in self.ks:
            recalls[f"image_retrieval_recall@{k}"] = _mean(getattr(self.images, kind)[k])
            recalls[f"text_retrieval_recall@{k}"] = _mean(getattr(self.texts, kind)[k])
        return recalls


def retrieval(
    images: Tensor,
    texts: Tensor,
    image_of_caption: NDArray[np.int64],
    ks: Sequence[int],
    chunk: int | None = None,
    progress: Progress = UNSEEN,
) -> Retrieval:
    """Recall of `images` (N, D) by `texts` (M, D) and the reverse, at every k of `ks`; both float32, on the CPU.

    `image_of_caption` (M,) names each text's image. About `chunk` texts, in whole BLOCKs, are scored at
    once; None chooses for speed. Memory: some 10 bytes for each of max(PANEL, 2 * BLOCK * max(N, M)) scores.
    `progress` advances by texts, and whatever it raises is passed on.

    Raises:
        InvalidSpec: a k below 1 or above the number of candidates.
        DataInvalid: an image without a caption.
        WeightsInvalid: an embedding that is not finite.
    """
    _check(images, texts, image_of_caption, ks)
    owner = torch.from_numpy(np.ascontiguousarray(image_of_caption, dtype=np.int64))
    rows = _spans(len(texts), PANEL // len(images) if chunk is None else chunk)
    with torch.inference_mode():
        best = _expected_best(images, texts, owner)
        by_text, by_image, found = _count(images, texts, owner, best, rows, progress)
        if not torch.equal(found, best):  # a machine whose smaller products round differently
            by_text, by_image, _ = _count(images, texts, owner, found, rows, UNSEEN)
        columns = _spans(len(images), PANEL // len(texts))
        image_retrieval = _decide(
            by_text, ks, rows, lambda span: texts[span] @ images.T, lambda text, image: owner[text] == image
        )
        text_retrieval = _decide(
            by_image, ks, columns, lambda span: (texts @ images[span].T).T, lambda image, text: owner[text] == image
        )
    return Retrieval(image_retrieval, text_retrieval, owner.numpy(), tuple(ks))


@dataclass(frozen=True)
class _Counts:
    """Where each query's best positive stands among its candidates; (Q,) int64 each."""

    above: Tensor
    """Candidates that score higher."""
    equal: Tensor
    """Candidates that score the same, itself among them."""
    positives: Tensor
    """Positives that score the same, itself among them."""


def _spans(total: int, size: int) -> list[slice]:
    """Cut `total` into slices of `size`, in whole BLOCKs; fewer than BLOCK left over join the last one."""
    size = max(size // BLOCK, 1) * BLOCK
    starts = [start for start in range(0, total, size) if start == 0 or start + BLOCK <= total]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], total], strict=True)]


def _expected_best(images: Tensor, texts: Tensor, owner: Tensor) -> Tensor:
    """(N,) the best score of each image with its own texts, from the few blocks of the product that hold them.

    Texts mostly lie in the order of their images, so this costs a small part of the product; it is verified later.
    """
    positive = torch.empty(len(texts))
    blocks = _spans(len(images), BLOCK)
    for span in _spans(len(texts), BLOCK):
        first, last = (min(int(end) // BLOCK, len(blocks) - 1) for end in owner[span].aminmax())
        start, stop = blocks[first].start, blocks[last].stop
        scores = texts[span] @ images[start:stop].T
        positive[span] = scores.gather(1, (owner[span] - start)[:, None])[:, 0]
    return _best_by_image(positive, owner, len(images))


def _best_by_image(positive: Tensor, owner: Tensor, n_images: int) -> Tensor:
    return torch.full((n_images,), -torch.inf).scatter_reduce(0, owner, positive, "amax")


def _count(
    images: Tensor, texts: Tensor, owner: Tensor, best: Tensor, rows: list[slice], progress: Progress
) -> tuple[_Counts, _Counts, Tensor]:
    """Places by text, places by image against `best` (N,), and what `best` should have been; one pass."""
    n_texts, n_images = len(texts), len(images)
    positive = torch.empty(n_texts)
    by_row, by_column = np.empty((2, n_texts), np.int64), np.zeros((2, n_images), np.int64)
    # Written again and again: fresh pages would cost a quarter of the time.
    memory = torch.empty(max(span.stop - span.start for span in rows), n_images)
    for span in rows:
        scores = torch.mm(texts[span], images.T, out=memory[: span.stop - span.start])
        own = scores.gather(1, owner[span, None])
        positive[span] = own[:, 0]
        _compare(scores.numpy(), own.numpy(), best.numpy(), by_row[:, span], by_column)
        progress.advance(span.stop - span.start)
    found = _best_by_image(positive, owner, n_images)
    equal_positives = torch.bincount(owner[positive == found[owner]], minlength=n_images)
    (row_above, row_reached), (column_above, column_reached) = torch.from_numpy(by_row), torch.from_numpy(by_column)
    by_text = _Counts(row_above, row_reached - row_above, torch.ones_like(owner))
    return by_text, _Counts(column_above, column_reached - column_above, equal_positives), found


def _compare(
    scores: NDArray[np.float32],
    own: NDArray[np.float32],
    best: NDArray[np.float32],
    by_row: NDArray[np.int64],
    by_column: NDArray[np.int64],
) -> None:
    """Count scores (n, N) above, and those not below, `own` (n, 1) into `by_row`,
    (2, n), and `best` (N,) into `by_column`, (2, N).

    By numpy, on one thread: it takes a tenth of the products' time, and torch's threads would meet at every part.
    """
    size = min(255, max(1, CACHED // scores.shape[1]))  # 255: a column's sum of flags is a byte
    memory = np.empty((size, scores.shape[1]), np.bool_)
    for start in range(0, len(scores), size):
        part = scores[start : start + size]
        flags = memory[: len(part)]
        for index, reaches in enumerate((np.greater, np.greater_equal)):
            reaches(part, own[start : start + size], out=flags)
            by_row[index, start : start + size] = flags.view(np.uint8).sum(1, dtype=np.uint32)
            reaches(part, best, out=flags)
            by_column[index] += flags.view(np.uint8).sum(0, dtype=np.uint8)


def _decide(
    counts: _Counts,
    ks: Sequence[int],
    spans: list[slice],
    scores_of: Callable[[slice], Tensor],
    is_positive: Callable[[Tensor, Tensor], Tensor],
) -> Direction:
    """Hits at every k. `scores_of` a span of queries gives (q, candidates), asked for only where a tie is open."""
    worst = counts.above + counts.equal - counts.positives
    optimistic = {k: counts.above < k for k in ks}
    pessimistic = {k: worst < k for k in ks}
    hits = {k: pessimistic[k].clone() for k in ks}
    unsettled = {k: optimistic[k] & ~pessimistic[k] for k in ks}
    undecided = torch.stack(list(unsettled.values())).any(0)
    for span in spans:
        if not undecided[span].any():
            continue
        scores = scores_of(span)
        for k in ks:
            rows = unsettled[k][span].nonzero()[:, 0]
            top = torch.topk(scores[rows], k, dim=1).indices
            queries = rows + span.start
            hits[k][queries] = is_positive(queries[:, None], top).any(1)
    return Direction(
        hits=_numpy(hits),
        optimistic=_numpy(optimistic),
        pessimistic=_numpy(pessimistic),
        ranks=(worst + 1).numpy(),
        tied=(counts.equal > counts.positives).numpy(),
    )


def _numpy(hits: dict[int, Tensor]) -> Hits:
    return {k: hit.numpy() for k, hit in hits.items()}


def _mean(hits: NDArray[np.bool_]) -> float:
    """As CLIP Benchmark averages: in float32."""
    return float(torch.from_numpy(hits).float().mean().item())


def _check(images: Tensor, texts: Tensor, image_of_caption: NDArray[np.int64], ks: Sequence[int]) -> None:
    for kind, embeddings in (("picture", images), ("caption", texts)):
        least, most = embeddings.aminmax(dim=1)  # isfinite() would copy them all
        broken = (~(least.isfinite() & most.isfinite())).nonzero()[:, 0]
        if len(broken):
            raise WeightsInvalid(
                f"the model gives no finite embedding for {kind} {int(broken[0]) + 1} of {len(embeddings)} "
                f"({len(broken)} of them hold NaN or infinity): its weights are damaged or diverged, use others"
            )
    captions = np.bincount(image_of_caption, minlength=len(images))
    if len(captions) > len(images):
        raise DataInvalid(f"a caption belongs to picture {len(captions)}, but there are {len(images)} pictures")
    if not captions.all():
        bare = int(np.flatnonzero(captions == 0)[0])
        raise DataInvalid(
            f"picture {bare + 1} of {len(images)} has no caption, so recall is not defined for it: "
            "give it one or leave it out of the split"
        )
    candidates = min(len(images), len(texts))
    for k in ks:
        if not 1 <= k <= candidates:
            raise InvalidSpec(
                f"evaluation.recallAt: {k} is not between 1 and {candidates}, the number of candidates: "
                "leave it out, or measure on more pictures"
            )
