"""A measurement as two objects: the Evaluation document, and every query's outcome beside it.

A run that goes on after a kill needs the outcomes of its baseline for intervals and examples, without measuring again.
"""

from collections.abc import Sequence

import torch
from safetensors.torch import load, save
from torch import Tensor

from finetune_trainer.evaluation.measure import Measured
from finetune_trainer.evaluation.recall import Direction, Hits, Retrieval
from finetune_trainer.records import Evaluation


def encode_outcomes(measured: Measured) -> bytes:
    """Hits, ranks and first images of every query, as safetensors; equal measurements give equal bytes."""
    found = measured.retrieval
    tensors = {
        "ks": torch.tensor(found.ks),
        "image_of_caption": torch.tensor(found.image_of_caption),
        "top": torch.tensor(measured.top),
    }
    for name, direction in (("images", found.images), ("texts", found.texts)):
        tensors[f"{name}.ranks"] = torch.tensor(direction.ranks)
        tensors[f"{name}.tied"] = torch.tensor(direction.tied)
        for kind in ("hits", "optimistic", "pessimistic"):
            hits: Hits = getattr(direction, kind)
            tensors[f"{name}.{kind}"] = torch.stack([torch.tensor(hits[k]) for k in found.ks])
    return save(tensors)


def decode_outcomes(evaluation: Evaluation, outcomes: bytes) -> Measured:
    """The measurement that `encode_outcomes` was given; `evaluation` is its document."""
    tensors = load(outcomes)
    ks = tuple(tensors["ks"].tolist())
    images, texts = (_direction(tensors, name, ks) for name in ("images", "texts"))
    found = Retrieval(images, texts, tensors["image_of_caption"].numpy(), ks)
    return Measured(found, tensors["top"].numpy(), evaluation)


def _direction(tensors: dict[str, Tensor], name: str, ks: Sequence[int]) -> Direction:
    def hits(kind: str) -> Hits:
        return dict(zip(ks, tensors[f"{name}.{kind}"].numpy(), strict=True))

    return Direction(
        hits=hits("hits"),
        optimistic=hits("optimistic"),
        pessimistic=hits("pessimistic"),
        ranks=tensors[f"{name}.ranks"].numpy(),
        tied=tensors[f"{name}.tied"].numpy(),
    )
