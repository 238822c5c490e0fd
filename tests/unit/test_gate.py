"""Verdicts and gates, each as the sentence that a person reads."""

from dataclasses import dataclass
from typing import Literal

import pytest

from finetune_sdk.api.evaluation import Gate as SpecGate
from finetune_trainer.evaluation.gate import judge, sentence, verdict
from finetune_trainer.records import Interval, MetricChange

IMAGE, TEXT = "image_retrieval_recall@5", "text_retrieval_recall@5"


def change(before: float, after: float, low: float, high: float) -> MetricChange:
    interval = Interval(low=low, high=high, draws=10_000, images=400)
    return MetricChange(before=before, after=after, gain=after - before, interval95=interval)


UP = change(0.421, 0.573, 0.119, 0.186)
SLIGHT = change(0.421, 0.429, -0.01, 0.026)
DOWN = change(0.5, 0.45, -0.08, -0.02)
SAME = change(0.421, 0.421, 0.0, 0.0)

VERDICTS: dict[str, tuple[MetricChange, bool, str, str]] = {
    "an interval above 0 is an improvement": (
        UP,
        False,
        "Improved",
        (
            "Image recall@5 rose from 42.1 % to 57.3 % (+15.2 points, 95 % interval +11.9 to +18.6) "
            "on 400 held-out pictures."
        ),
    ),
    "an interval that holds 0 is inconclusive": (
        SLIGHT,
        False,
        "Inconclusive",
        (
            "Image recall@5 went from 42.1 % to 42.9 % (+0.8 points, 95 % interval -1.0 to +2.6) "
            "on 400 held-out pictures: that may be chance, as the interval holds 0."
        ),
    ),
    "an interval below 0 is worse": (
        DOWN,
        False,
        "Worse",
        "Image recall@5 fell from 50.0 % to 45.0 % (-5.0 points, 95 % interval -8.0 to -2.0) on 400 held-out pictures.",
    ),
    "the base as the model is no gain": (
        SAME,
        True,
        "NoGain",
        (
            "No gain: no fine-tuned weights beat the base on the validation pictures by more than one standard error, "
            "so the base stays the model, with image recall@5 42.1 % on 400 held-out pictures."
        ),
    ),
}


@pytest.mark.parametrize(("given", "no_gain", "expected", "words"), VERDICTS.values(), ids=VERDICTS)
def test_verdict(given: MetricChange, no_gain: bool, expected: str, words: str) -> None:
    assert verdict(given, no_gain) == expected
    assert sentence(IMAGE, given, no_gain) == words


@dataclass(frozen=True)
class Gate:
    min_gain: float = 0.0
    compare: Literal["estimate", "lowerBound"] = "estimate"
    max_loss: float | None = None


GATES: dict[str, tuple[Gate, MetricChange, MetricChange, bool, str]] = {
    "enough gain passes": (
        Gate(0.02),
        UP,
        SAME,
        True,
        "Gate met: the gain of image recall@5 is +15.2 points, at least the +2.0 points asked for.",
    ),
    "exactly enough passes, whatever float32 makes of it": (
        Gate(0.02),
        change(0.5, 0.5199999809265137, 0.01, 0.03),
        SAME,
        True,
        "Gate met: the gain of image recall@5 is +2.0 points, at least the +2.0 points asked for.",
    ),
    "too little gain fails": (
        Gate(0.02),
        SLIGHT,
        SAME,
        False,
        "Gate not met: the gain of image recall@5 is +0.8 points, and minGain asks for +2.0 points.",
    ),
    "the lower bound is judged where it is asked for": (
        Gate(0.12, "lowerBound"),
        UP,
        SAME,
        False,
        (
            "Gate not met: the lower bound of the gain of image recall@5 is +11.9 points, "
            "and minGain asks for +12.0 points."
        ),
    ),
    "the other direction may lose a little": (
        Gate(0.02, max_loss=0.05),
        UP,
        DOWN,
        True,
        (
            "Gate met: the gain of image recall@5 is +15.2 points, at least the +2.0 points asked for; "
            "text recall@5 changed by -5.0 points, with a loss of 5.0 points allowed."
        ),
    ),
    "the other direction lost too much": (
        Gate(0.02, max_loss=0.01),
        UP,
        DOWN,
        False,
        "Gate not met: text recall@5 lost 5.0 points, and maxLoss allows 1.0 points.",
    ),
    "both misses are told": (
        Gate(0.2, max_loss=0.01),
        UP,
        DOWN,
        False,
        (
            "Gate not met: the gain of image recall@5 is +15.2 points, and minGain asks for +20.0 points; "
            "text recall@5 lost 5.0 points, and maxLoss allows 1.0 points."
        ),
    ),
    "no gain passes a gate that asks for none": (
        Gate(0.0),
        SAME,
        SAME,
        True,
        "Gate met: the gain of image recall@5 is 0.0 points, at least the 0.0 points asked for.",
    ),
}


@pytest.mark.parametrize(("gate", "image", "text", "passed", "message"), GATES.values(), ids=GATES)
def test_gate(gate: Gate, image: MetricChange, text: MetricChange, passed: bool, message: str) -> None:
    result = judge(gate, IMAGE, {IMAGE: image, TEXT: text})
    assert result.message == message
    assert result.passed == passed


def test_the_spec_of_a_run_is_a_gate() -> None:
    assert judge(SpecGate(min_gain=0.1), TEXT, {IMAGE: SAME, TEXT: UP}).passed
