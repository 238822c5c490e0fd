"""The gradients of one contrastive batch, by one algorithm for any number of micro-batches. B pairs, b a micro-batch.

The loss needs all pairs at once, the towers' activations do not: GradCache (Gao et al. 2021, arXiv:2101.06983) embeds
the micro-batches without gradient, takes the loss and its gradient on the embeddings once, then embeds each micro-batch
again and pushes its part of that gradient through the towers. Memory grows with b, the result is that of B.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from finetune_trainer.data.order import random_words
from finetune_trainer.training.loss import ContrastiveLoss, false_negatives
from finetune_trainer.training.parallel import ALONE, Peers
from finetune_trainer.training.towers import TOWERS, Tower, embed, is_frozen, tower_parameters

Autocast = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Pairs:
    """A batch on its way to the model's device."""

    images: Tensor
    """(B, ...) as `StepSettings.pixels` takes them."""
    tokens: Tensor
    """(B, T) int64."""
    image_ids: Tensor
    """(B,) int64."""
    caption_ids: Tensor
    """(B,) int64."""

    def to(self, device: torch.device) -> "Pairs":
        """The same on `device`."""
        return Pairs(
            self.images.to(device), self.tokens.to(device), self.image_ids.to(device), self.caption_ids.to(device)
        )


@dataclass(frozen=True)
class StepSettings:
    """What stays the same from step to step."""

    loss: ContrastiveLoss
    micro_batch: int
    """b; the last micro-batch may be smaller."""
    seed: int
    pixels: Callable[[Tensor], Tensor]
    """A micro-batch of `Pairs.images` to the model's input (b, 3, H, W) float32."""
    autocast: Autocast
    """The towers run inside; the loss is float32 always."""
    peers: Peers = ALONE


def contrastive_gradients(
    module: nn.Module,
    pairs: Pairs,
    settings: StepSettings,
    *,
    step: int,
    scale_loss: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> Tensor:
    """Add the gradient of the batch's loss to each trained parameter's `.grad`; return the loss, () float32, detached.

    `scale_loss` is a gradient scaler's `scale`. Dropout is drawn from (seed, step, micro-batch, tower), with torch's
    global generators: what they held before is lost, and nothing here depends on it.
    """
    if len(pairs.tokens) <= settings.micro_batch and settings.peers.world == 1:
        embeddings = [_embed_part(module, tower, pairs, settings, (step, 0)) for tower in TOWERS]
        loss = _loss(module, embeddings, pairs, settings)
        torch.autograd.backward(scale_loss(loss))
        return loss.detach()
    return _cached(module, pairs, settings, step, scale_loss)


def _cached(
    module: nn.Module, pairs: Pairs, settings: StepSettings, step: int, scale_loss: Callable[[Tensor], Tensor]
) -> Tensor:
    with torch.no_grad():
        parts = [
            [_embed_part(module, tower, pairs, settings, (step, number)) for number in _numbers(pairs, settings)]
            for tower in TOWERS
        ]
    leaves = [settings.peers.gather(torch.cat(part)).requires_grad_() for part in parts]
    loss = _loss(module, leaves, pairs, settings)
    torch.autograd.backward(scale_loss(loss))
    for tower, leaf in zip(TOWERS, leaves, strict=True):
        if is_frozen(module, tower) or leaf.grad is None:
            continue
        gradients = torch.split(settings.peers.own(leaf.grad), settings.micro_batch)
        for number, gradient in enumerate(gradients):
            torch.autograd.backward(_embed_part(module, tower, pairs, settings, (step, number)), gradient)
        settings.peers.sum_gradients(tower_parameters(module, tower))
    return loss.detach()


def _numbers(pairs: Pairs, settings: StepSettings) -> range:
    return range(-(-len(pairs.tokens) // settings.micro_batch))


def _embed_part(
    module: nn.Module, tower: Tower, pairs: Pairs, settings: StepSettings, place: tuple[int, int]
) -> Tensor:
    """(b, D): the embeddings of micro-batch `number`; the same bits each time, with and without gradient."""
    step, number = place
    here = slice(number * settings.micro_batch, (number + 1) * settings.micro_batch)
    inputs = settings.pixels(pairs.images[here]) if tower == "image" else pairs.tokens[here]
    torch.manual_seed(random_words(b"dropout", settings.seed, step, number, TOWERS.index(tower))[0])
    # A context each: autocast caches the cast weights, and those cast without gradient would be found by the replay.
    with torch.set_grad_enabled(torch.is_grad_enabled() and not is_frozen(module, tower)), settings.autocast():
        return embed(module, tower, inputs)


def _loss(module: nn.Module, embeddings: list[Tensor], pairs: Pairs, settings: StepSettings) -> Tensor:
    gather = settings.peers.gather
    masked = false_negatives(gather(pairs.image_ids), gather(pairs.caption_ids))
    scale: Any = module.logit_scale
    images, texts = embeddings
    return settings.loss(images, texts, scale.exp(), getattr(module, "logit_bias", None), masked)
