"""The two contrastive losses, over whole batches, in float32. B pairs, D dimensions.

Pairs that are no true negatives, because they share the image or the caption, are left out: pushing a caption away from
a picture that it describes would teach the model the opposite of the data.
"""

from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

LossName = Literal["clip", "siglip"]


class ContrastiveLoss(Protocol):
    """A loss over all pairs of a batch."""

    def __call__(self, images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor | None, masked: Tensor) -> Tensor:
        """The loss, () float32, of embeddings (B, D), L2-normalised, where pair i is images[i] and texts[i].

        `scale` () multiplies the cosines, `bias` () is added; pairs that are True in `masked` (B, B) do not count.
        """


def loss_by_name(name: LossName) -> ContrastiveLoss:
    """The loss that `training.loss` names."""
    return clip_loss if name == "clip" else siglip_loss


def false_negatives(image_ids: Tensor, caption_ids: Tensor) -> Tensor:
    """(B, B) bool: off-diagonal pairs of an image and a caption that share the image's or the caption's id."""
    same_image = image_ids[:, None] == image_ids[None, :]
    same_caption = caption_ids[:, None] == caption_ids[None, :]
    return (same_image | same_caption).fill_diagonal_(False)


def clip_loss(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor | None, masked: Tensor) -> Tensor:
    """Mean of the cross entropies of images over captions and captions over images (Radford et al. 2021, figure 3).

    A masked pair is left out of both softmaxes. Without masked pairs this is open_clip's ClipLoss.
    """
    logits = _logits(images, texts, scale, bias).masked_fill(masked, -torch.inf)
    targets = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def siglip_loss(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor | None, masked: Tensor) -> Tensor:
    """Sum over pairs of the logistic loss, by the number of images B (Zhai et al. 2023, algorithm 1).

    A masked pair is left out of the sum. The divisor stays B, the number of positives: each positive and each true
    negative weighs the same in every batch, however many duplicates it drew. Without masked pairs this is open_clip's
    SigLipLoss.
    """
    logits = _logits(images, texts, scale, bias)
    signs = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(signs * logits).masked_fill(masked, 0.0).sum() / len(logits)


def _logits(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    with torch.autocast(images.device.type, enabled=False):
        logits = scale.float() * images.float() @ texts.float().T
    return logits if bias is None else logits + bias.float()
