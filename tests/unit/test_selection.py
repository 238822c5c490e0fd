"""Which weights are chosen, and how weights are averaged."""

import numpy as np
import pytest
import torch
from torch import Tensor

from finetune_sdk.errors import TrainerError
from finetune_trainer.evaluation.recall import Direction, Retrieval
from finetune_trainer.evaluation.selection import Validated, choose, interpolate, score_ks, selection_score

N = 200


def found(hit: int, captions: int = 2, n: int = N) -> Retrieval:
    """A retrieval whose first `hit` images are hit by all their captions, in both directions and at every k."""
    owner = np.repeat(np.arange(n), captions)

    def direction(hits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Direction:
        by_k = {k: hits for k in (1, 5) if k <= n}
        return Direction(by_k, by_k, by_k, np.where(hits, 1, n).astype(np.int64), np.zeros(len(hits), np.bool_))

    ks = tuple(k for k in (1, 5) if k <= n)
    return Retrieval(direction(owner < hit), direction(np.arange(n) < hit), owner, ks)


def at(step: int, alpha: float, hit: int) -> Validated:
    return Validated(step, alpha, found(hit))


BASE = at(0, 0.0, 100)
CASES: dict[str, tuple[list[Validated], tuple[int, float], bool]] = {
    "no candidate at all": ([], (0, 0.0), True),
    "equal to the base is no gain": ([at(10, 1.0, 100)], (0, 0.0), True),
    "worse is no gain": ([at(10, 1.0, 60)], (0, 0.0), True),
    "one picture better is within one standard error": ([at(10, 1.0, 101)], (0, 0.0), True),
    "clearly better is chosen": ([at(10, 1.0, 110)], (10, 1.0), False),
    "the best of several is chosen": ([at(10, 0.5, 110), at(10, 1.0, 120), at(20, 0.5, 115)], (10, 1.0), False),
    "a tie goes to the smaller alpha": ([at(10, 1.0, 120), at(20, 0.25, 120), at(5, 0.5, 120)], (20, 0.25), False),
    "then to the smaller step": ([at(20, 0.5, 120), at(10, 0.5, 120)], (10, 0.5), False),
}


@pytest.mark.parametrize(("candidates", "expected", "no_gain"), CASES.values(), ids=CASES)
def test_choice(candidates: list[Validated], expected: tuple[int, float], no_gain: bool) -> None:
    selection = choose(BASE, candidates)
    assert (selection.chosen.step, selection.chosen.alpha) == expected
    assert selection.no_gain == no_gain
    assert [each.step for each in selection.candidates] == [each.step for each in candidates]


def test_the_standard_error_is_paired_and_by_image() -> None:
    """Ten images of 200 gained, all captions alike: the error of a share of .05 over 200 images, not over captions."""
    assert choose(BASE, [at(10, 1.0, 110)]).standard_error == pytest.approx(np.sqrt(0.05 * 0.95 / (N - 1)))


def test_one_validation_picture_cannot_beat_the_base() -> None:
    selection = choose(Validated(0, 0.0, found(0, n=1)), [Validated(10, 1.0, found(1, n=1))])
    assert selection.no_gain


def test_the_score_is_the_mean_of_both_directions_at_1_and_5() -> None:
    half, whole = found(100), found(N)
    mixed = Retrieval(whole.images, half.texts, half.image_of_caption, (1, 5))
    assert selection_score(mixed) == pytest.approx((1 + 1 + 0.5 + 0.5) / 4)


@pytest.mark.parametrize(("images", "ks"), [(200, (1, 5)), (4, (1,))])
def test_few_pictures_leave_recall_at_5_out(images: int, ks: tuple[int, ...]) -> None:
    assert score_ks(images) == ks


def weights(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {"w": torch.randn(5, 3), "b": torch.randn(3), "ids": torch.arange(4) + seed}


def test_alpha_0_and_1_are_the_same_bits() -> None:
    base, tuned = weights(0), weights(1)
    for alpha, expected in ((0.0, base), (1.0, tuned)):
        got = interpolate(base, tuned, alpha)
        assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_between_is_the_weighted_mean_of_floating_tensors_only() -> None:
    base, tuned = weights(0), weights(1)
    got = interpolate(base, tuned, 0.25)
    assert torch.allclose(got["w"], 0.75 * base["w"] + 0.25 * tuned["w"])
    assert torch.equal(got["ids"], tuned["ids"])


@pytest.mark.parametrize(
    ("odd", "words"),
    [({"extra": torch.zeros(1)}, "only one side holds extra"), ({"b": torch.zeros(4)}, r"b is \[3\] and \[4\]")],
    ids=["a name too many", "another shape"],
)
def test_weights_that_do_not_agree_are_refused(odd: dict[str, Tensor], words: str) -> None:
    with pytest.raises(TrainerError, match=words):
        interpolate(weights(0), {**weights(1), **odd}, 0.5)
