"""The number: a model's recall on a split, and how it changed, on the same queries."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune_sdk.api.defaults import DEFAULT_RECALL_AT, headline_metric
from finetune_sdk.errors import InvalidSpec, TrainerError
from finetune_trainer.data.types import Split
from finetune_trainer.evaluation.encode import encode_images, encode_texts
from finetune_trainer.evaluation.interval import bootstrap_gain
from finetune_trainer.evaluation.recall import PANEL, Retrieval, retrieval
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.progress import UNSEEN, Progress
from finetune_trainer.records import Evaluation, MetricChange

TOP = 3
"""Images kept for each caption, for the report's examples."""


@dataclass(frozen=True)
class Measured:
    """One model's figures on one split, with every query's outcome."""

    retrieval: Retrieval
    top: NDArray[np.int64]
    """(M, min(TOP, N)) the images that each caption finds first, best first."""
    evaluation: Evaluation


def measure(
    model: ClipModel,
    split: Split,
    ks: Sequence[int],
    *,
    device: torch.device,
    progress: Progress,
    stage: str,
    weights_digest: str | None = None,
) -> Measured:
    """Embed `split`, and compute recall both ways at every k. `weights_digest` None: that of the weights as loaded.

    Raises InvalidSpec for a k above the number of candidates, DataInvalid for a picture without captions,
    WeightsInvalid for embeddings that are not finite.
    """
    captions = split.captions
    progress.start(f"{stage}: pictures", len(split.images), "images")
    images = encode_images(model, split, device=device, progress=progress)
    progress.start(f"{stage}: captions", len(captions), "captions")
    texts = encode_texts(model, split, device=device, progress=progress)
    progress.start(f"{stage}: recall", len(captions), "captions")
    found = retrieval(images, texts, split.image_of_caption, ks, progress=progress)
    top = best_images(images, texts, progress=progress)
    evaluation = Evaluation(
        dataset=split.name,
        model=model.name,
        pretrained=model.source,
        metrics=found.recalls,
        queries_digest=queries_digest(split),
        images=len(split.images),
        captions=len(captions),
        ties=found.ties,
        weights_digest=model.digest if weights_digest is None else weights_digest,
    )
    return Measured(found, top, evaluation)


def best_images(images: Tensor, texts: Tensor, n: int = TOP, progress: Progress = UNSEEN) -> NDArray[np.int64]:
    """(M, min(n, N)) indices of the images (N, D) nearest each text (M, D), best first.

    `progress` hears that it goes on; whatever that raises is passed on.
    """
    rows = max(1, PANEL // len(images))
    n = min(n, len(images))
    found = []
    for start in range(0, len(texts), rows):
        found.append(torch.topk(texts[start : start + rows] @ images.T, n, dim=1).indices)
        progress.advance(0)
    return torch.cat(found).numpy()


def queries_digest(split: Split) -> str:
    """SHA-256 over the candidates' pixels and the captions, in order: what before and after must share."""
    digest = hashlib.sha256()
    for image in split.images:
        digest.update(json.dumps([image.pixels_sha256, *image.captions]).encode() + b"\n")
    return digest.hexdigest()


def changes(before: Measured, after: Measured, seed: int) -> dict[str, MetricChange]:
    """Every metric before and after, with its gain's interval. Raises TrainerError unless both met equal queries."""
    if before.evaluation.queries_digest != after.evaluation.queries_digest:
        raise TrainerError(
            "before and after were measured on different queries "
            f"({before.evaluation.queries_digest[:12]} and {after.evaluation.queries_digest[:12]}): "
            "the data changed between them, so start again with an empty output"
        )
    return {metric: _change(metric, before, after, seed) for metric in before.evaluation.metrics}


def _change(metric: str, before: Measured, after: Measured, seed: int) -> MetricChange:
    first, last = before.evaluation.metrics[metric], after.evaluation.metrics[metric]
    interval = bootstrap_gain(
        before.retrieval.hits(metric),
        after.retrieval.hits(metric),
        before.retrieval.image_of_query(metric),
        before.evaluation.images,
        seed,
    )
    return MetricChange(before=first, after=last, gain=last - first, interval95=interval)


def resolve_ks(
    recall_at: Sequence[int] | None, n_images: int, field: str = "evaluation.recallAt"
) -> tuple[tuple[int, ...], list[str]]:
    """The k to measure at on `n_images` candidates, and notes.

    Raises InvalidSpec for a written k above `n_images`; `field` is where it is written.
    """
    if recall_at is None:
        kept = tuple(k for k in DEFAULT_RECALL_AT if k <= n_images)
        dropped = [str(k) for k in DEFAULT_RECALL_AT if k > n_images]
        if not dropped:
            return kept, []
        return kept, [
            f"Recall at {' and '.join(dropped)} is left out: there are only {n_images} pictures to choose from."
        ]
    too_large = [k for k in recall_at if k > n_images]
    if too_large:
        raise InvalidSpec(
            f"{field}: {too_large[0]} is above the number of candidates, {n_images} test pictures: "
            f"write at most {n_images}, or give more test pictures"
        )
    return tuple(sorted(recall_at)), []


def headline(metric: str | None, ks: Sequence[int]) -> str:
    """The metric that the verdict is about. Raises InvalidSpec for one that is not measured."""
    if metric is None:
        return headline_metric(None, list(ks))
    if int(metric.rpartition("@")[2]) not in ks:
        raise InvalidSpec(
            f"evaluation.metric: {metric} is not measured, only recall at {', '.join(map(str, ks))}: "
            "use one of these, or add its k to evaluation.recallAt"
        )
    return metric
