"""The rate: up in a line, down along a cosine."""

import math

import pytest

from finetune_trainer.training.schedule import learning_rate

STEPS = {
    "the first step of warmup is not 0": (0, 0.1),
    "halfway up": (4, 0.5),
    "the last step of warmup has the peak": (9, 1.0),
    "the cosine begins at the peak": (10, 1.0),
    "halfway down": (55, 0.5),
    "the last step is near 0": (99, 0.5 * (1 + math.cos(math.pi * 89 / 90))),
}


@pytest.mark.parametrize(("step", "share"), STEPS.values(), ids=STEPS)
def test_warmup_then_cosine(step: int, share: float) -> None:
    assert learning_rate(step, peak=3e-4, warmup_steps=10, total_steps=100) == pytest.approx(3e-4 * share)


def test_without_warmup_a_single_step_has_the_peak() -> None:
    assert learning_rate(0, peak=1.0, warmup_steps=0, total_steps=1) == 1.0


def test_the_rate_rises_then_falls_and_is_never_negative() -> None:
    rates = [learning_rate(step, peak=1.0, warmup_steps=7, total_steps=50) for step in range(50)]
    assert rates == [*sorted(rates[:7]), *sorted(rates[7:], reverse=True)]
    assert min(rates) > 0
