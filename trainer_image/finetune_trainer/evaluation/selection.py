"""Which weights become the model: judged on validation only, the base always among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune_sdk.errors import TrainerError
from finetune_trainer.evaluation.interval import influence, standard_error
from finetune_trainer.evaluation.recall import Retrieval
from finetune_trainer.records import Candidate, Selection

SCORE_KS = (1, 5)
"""The k that count toward the score."""


@dataclass(frozen=True)
class Validated:
    """Weights and what they retrieve on validation."""

    step: int
    """0 is the base."""
    alpha: float
    """WiSE-FT; 0 is the base, 1 the fine-tuned weights."""
    retrieval: Retrieval


def score_ks(n_images: int) -> tuple[int, ...]:
    """The k to measure validation at; with fewer than five pictures only those that are defined."""
    return tuple(k for k in SCORE_KS if k <= n_images)


def selection_score(found: Retrieval) -> float:
    """Mean of image and text recall at 1 and 5."""
    recalls = found.recalls
    return float(np.mean([recalls[metric] for metric in _metrics(found)]))


def choose(base: Validated, candidates: Sequence[Validated]) -> Selection:
    """The best that beats the base by more than one paired standard error; ties to the smaller alpha, then step.

    All were measured on the same validation queries. Without such a candidate, `no_gain` is true, the base is chosen,
    and the standard error is that of the best candidate.
    """
    ranked = sorted(candidates, key=lambda each: (-selection_score(each.retrieval), each.alpha, each.step))
    errors = {id(each): _paired_error(base.retrieval, each.retrieval) for each in ranked}
    floor = selection_score(base.retrieval)
    better = [each for each in ranked if selection_score(each.retrieval) - floor > errors[id(each)]]
    chosen = better[0] if better else base
    shown = better[0] if better else ranked[0] if ranked else None
    return Selection(
        base=_candidate(base),
        candidates=[_candidate(each) for each in candidates],
        chosen=_candidate(chosen),
        standard_error=errors[id(shown)] if shown is not None else 0.0,
        no_gain=not better,
    )


def interpolate(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) x base + alpha x tuned, tensor by tensor; what is not floating is the tuned model's.

    alpha 0 gives the base's own bits and alpha 1 the tuned model's. Source: WiSE-FT, Wortsman et al. 2022,
    arXiv:2109.01903. Raises TrainerError unless names and shapes agree.
    """
    _check_alike(base, tuned)
    if alpha == 0:
        return dict(base)
    if alpha == 1:
        return dict(tuned)
    return {
        name: torch.lerp(base[name], tensor, alpha) if tensor.is_floating_point() else tensor
        for name, tensor in tuned.items()
    }


def _metrics(found: Retrieval) -> list[str]:
    return [f"{kind}_retrieval_recall@{k}" for k in SCORE_KS if k in found.ks for kind in ("image", "text")]


def _paired_error(base: Retrieval, other: Retrieval) -> float:
    """Standard error of the difference of scores, over images."""
    return standard_error(np.mean([_influence(metric, base, other) for metric in _metrics(base)], axis=0))


def _influence(metric: str, base: Retrieval, other: Retrieval) -> NDArray[np.float64]:
    """(images,) of the difference of one metric."""
    owner, n_images = base.image_of_query(metric), len(base.texts.ranks)
    gained = other.hits(metric).astype(np.float64) - base.hits(metric)
    by_image = np.bincount(owner, gained, n_images).astype(np.float64)
    return influence(by_image, np.bincount(owner, minlength=n_images))


def _candidate(validated: Validated) -> Candidate:
    found = validated.retrieval
    return Candidate(step=validated.step, alpha=validated.alpha, score=selection_score(found), recalls=found.recalls)


def _check_alike(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor]) -> None:
    if odd := sorted(base.keys() ^ tuned.keys()):
        raise TrainerError(f"the weights to average do not agree: only one side holds {odd[0]}")
    for name, tensor in base.items():
        if tensor.shape != tuned[name].shape:
            raise TrainerError(
                f"the weights to average do not agree: {name} is {[*tensor.shape]} and {[*tuned[name].shape]}"
            )
