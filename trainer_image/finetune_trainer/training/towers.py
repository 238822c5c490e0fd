"""A CLIP-style module seen as two towers: what is frozen, what runs in training mode, how each one embeds."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune_trainer.model.adapters import tower_of
from finetune_trainer.model.padding import encode_text

Tower = Literal["image", "text"]
TOWERS: tuple[Tower, Tower] = ("image", "text")


def tower_parameters(module: nn.Module, tower: Tower) -> Iterator[nn.Parameter]:
    """The parameters of a tower."""
    return (parameter for name, parameter in module.named_parameters() if tower_of(name) == tower)


def is_frozen(module: nn.Module, tower: Tower) -> bool:
    """Whether nothing in the tower is trained."""
    return not any(parameter.requires_grad for parameter in tower_parameters(module, tower))


def set_training_mode(module: nn.Module) -> None:
    """Training mode (dropout) for what is trained; evaluation mode for frozen parts and norms with running statistics.

    BatchNorm keeps the statistics of its pretraining: small batches have worse ones, micro-batches would change them.
    """
    module.train()
    for part in module.modules():
        parameters = list(part.parameters())
        frozen = bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
        if frozen or getattr(part, "running_mean", None) is not None:
            part.eval()


def embed(module: nn.Module, tower: Tower, inputs: Tensor) -> Tensor:
    """(b, D) float32, L2-normalised. `inputs` are normalised images (b, 3, H, W) or token ids (b, T), which
    `without_padding` may have cut."""
    whole: Any = module
    embeddings: Tensor = whole.encode_image(inputs) if tower == "image" else encode_text(module, inputs)
    with torch.autocast(inputs.device.type, enabled=False):
        return F.normalize(embeddings.float(), dim=-1)
