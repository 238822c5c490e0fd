"""The losses: by hand where pairs are masked, and open_clip's where none are."""

import math

import pytest
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor
from torch.nn import functional as F

from finetune_trainer.training.loss import clip_loss, false_negatives, siglip_loss

SCALE = torch.tensor(10.0)
BIAS = torch.tensor(-4.0)
NO_MASK = torch.zeros(6, 6, dtype=torch.bool)


def embeddings(seed: int, count: int = 6) -> Tensor:
    return F.normalize(torch.randn(count, 16, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_clip_loss_without_duplicates_is_open_clips() -> None:
    ours = clip_loss(embeddings(1), embeddings(2), SCALE, None, NO_MASK)
    torch.testing.assert_close(ours, ClipLoss()(embeddings(1), embeddings(2), SCALE), rtol=1e-6, atol=0)


def test_siglip_loss_without_duplicates_is_open_clips() -> None:
    ours = siglip_loss(embeddings(1), embeddings(2), SCALE, BIAS, NO_MASK)
    torch.testing.assert_close(ours, SigLipLoss()(embeddings(1), embeddings(2), SCALE, BIAS), rtol=1e-6, atol=0)


MASKS = {
    "nothing is shared": ([1, 2, 3], [1, 2, 3], set()),
    "two pairs share an image": ([1, 1, 3], [1, 2, 3], {(0, 1), (1, 0)}),
    "two pairs share a caption": ([1, 2, 3], [7, 8, 7], {(0, 2), (2, 0)}),
    "the same pair twice": ([1, 1, 3], [1, 1, 3], {(0, 1), (1, 0)}),
    "everything is one": ([5, 5, 5], [6, 6, 6], {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)}),
}


@pytest.mark.parametrize(("images", "captions", "masked"), MASKS.values(), ids=MASKS)
def test_pairs_that_share_image_or_caption_are_masked(
    images: list[int], captions: list[int], masked: set[tuple[int, int]]
) -> None:
    mask = false_negatives(torch.tensor(images), torch.tensor(captions))
    assert {(row, column) for row, column in mask.nonzero().tolist()} == masked


def hand_logits(bias: float) -> tuple[Tensor, Tensor, list[list[float]]]:
    """Three pairs in two dimensions, with their logits at scale 2 in plain floats."""
    images, texts = [(1.0, 0.0), (0.6, 0.8), (0.0, 1.0)], [(0.8, 0.6), (0.0, 1.0), (1.0, 0.0)]
    logits = [[2 * (a * c + b * d) + bias for c, d in texts] for a, b in images]
    return torch.tensor(images), torch.tensor(texts), logits


def test_clip_loss_leaves_a_masked_pair_out_of_both_softmaxes() -> None:
    images, texts, logits = hand_logits(0.0)
    masked = {(0, 1), (1, 0)}
    total = 0.0
    for i in range(3):
        row = sum(math.exp(logits[i][j]) for j in range(3) if (i, j) not in masked)
        column = sum(math.exp(logits[j][i]) for j in range(3) if (j, i) not in masked)
        total += (math.log(row) - logits[i][i] + math.log(column) - logits[i][i]) / 6
    mask = false_negatives(torch.tensor([4, 4, 5]), torch.tensor([1, 2, 3]))
    assert float(clip_loss(images, texts, torch.tensor(2.0), None, mask)) == pytest.approx(total, rel=1e-6)


def test_siglip_loss_leaves_a_masked_pair_out_and_divides_by_the_number_of_images() -> None:
    images, texts, logits = hand_logits(-1.0)
    total = 0.0
    for i in range(3):
        for j in range(3):
            if (i, j) not in {(0, 2), (2, 0)}:
                total += math.log1p(math.exp((-1 if i == j else 1) * logits[i][j])) / 3
    mask = false_negatives(torch.tensor([1, 2, 3]), torch.tensor([9, 8, 9]))
    loss = siglip_loss(images, texts, torch.tensor(2.0), torch.tensor(-1.0), mask)
    assert float(loss) == pytest.approx(total, rel=1e-6)


def test_masked_pairs_have_no_gradient_and_no_nan() -> None:
    images = embeddings(3).requires_grad_()
    loss = clip_loss(images, embeddings(4), SCALE, None, ~torch.eye(6, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss, images)
    assert torch.equal(gradient, torch.zeros_like(images))


def test_the_loss_is_float32_even_inside_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = clip_loss(embeddings(1), embeddings(2), SCALE, None, NO_MASK)
    assert torch.equal(inside, clip_loss(embeddings(1), embeddings(2), SCALE, None, NO_MASK))
