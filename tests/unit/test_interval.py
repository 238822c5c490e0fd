"""The interval covers what it says, is paired, clustered and repeatable."""

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune_trainer.evaluation.interval import bootstrap_gain, influence, interval_notes, standard_error

Drawn = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]


def draw(random: np.random.Generator, n_images: int) -> Drawn:
    """Hits before (rate .4) and after (.5): 1 to 5 captions an image, which share their image's difficulty."""
    owner = np.repeat(np.arange(n_images), random.integers(1, 6, n_images))
    ease = random.beta(0.8, 1.2, n_images)[owner]
    gain = random.beta(1.0, 5.0, n_images)[owner]
    before = random.random(len(owner)) < ease
    after = np.where(before, random.random(len(owner)) > 0.02, random.random(len(owner)) < gain)
    return before, after, owner


def true_gain() -> float:
    """Of the population: P(hit) = .8 / 2 = .4; a hit is lost with .02, a miss won with 1 / 6, independent of it."""
    return 0.6 / 6 - 0.4 * 0.02


@pytest.mark.parametrize("n_images", [50, 200, 1000])
def test_coverage_over_500_simulations(n_images: int) -> None:
    random = np.random.default_rng(20_240 + n_images)
    covered = 0
    for seed in range(500):
        interval = bootstrap_gain(*draw(random, n_images), n_images, seed, draws=2000)
        covered += interval.low <= true_gain() <= interval.high
    assert 0.92 <= covered / 500 <= 0.97


def test_captions_drawn_alone_would_be_too_sure() -> None:
    before, after, _ = draw(np.random.default_rng(0), 400)
    copies = 5
    hits = np.repeat(before, copies), np.repeat(after, copies)
    clustered = bootstrap_gain(*hits, np.repeat(np.arange(len(before)), copies), len(before), 0)
    alone = bootstrap_gain(*hits, np.arange(copies * len(before)), copies * len(before), 0)
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)


def test_no_change_is_exactly_zero_since_draws_are_paired() -> None:
    before, _, owner = draw(np.random.default_rng(0), 100)
    interval = bootstrap_gain(before, before, owner, 100, seed=0)
    assert (interval.low, interval.high) == (0.0, 0.0)


def test_equal_seeds_give_equal_bits_and_10_000_draws() -> None:
    drawn = draw(np.random.default_rng(0), 300)
    assert bootstrap_gain(*drawn, 300, seed=1) == bootstrap_gain(*drawn, 300, seed=1)
    assert bootstrap_gain(*drawn, 300, seed=1) != bootstrap_gain(*drawn, 300, seed=2)
    assert bootstrap_gain(*drawn, 300, seed=1).draws == 10_000


def test_equals_a_naive_bootstrap_within_its_noise() -> None:
    before, after, owner = draw(np.random.default_rng(3), 120)
    random = np.random.default_rng(0)
    gains = []
    for _ in range(4000):
        queries = np.concatenate([np.flatnonzero(owner == image) for image in random.integers(0, 120, 120)])
        gains.append(after[queries].mean() - before[queries].mean())
    interval = bootstrap_gain(before, after, owner, 120, seed=0)
    assert [interval.low, interval.high] == pytest.approx(np.quantile(gains, [0.025, 0.975]), abs=0.006)


def test_standard_error_is_the_spread_of_the_ratio() -> None:
    random = np.random.default_rng(0)
    ratios = []
    for _ in range(3000):
        sizes = random.integers(1, 6, 100)
        ratios.append(random.binomial(sizes, 0.3).sum() / sizes.sum())
    sizes = random.integers(1, 6, 100_000)
    estimate = standard_error(influence(random.binomial(sizes, 0.3).astype(float), sizes)) * np.sqrt(1000)
    assert estimate == pytest.approx(np.std(ratios), rel=0.05)


def test_the_standard_error_of_one_image_is_all_that_recall_can_differ_by() -> None:
    assert standard_error(np.array([0.0])) == 1.0


@pytest.mark.parametrize(("n_images", "notes"), [(199, 2), (200, 1)])
def test_few_images_are_warned_of_and_the_seed_is_always_named(n_images: int, notes: int) -> None:
    told = interval_notes(n_images)
    assert len(told) == notes
    assert "not the seed" in told[-1]
