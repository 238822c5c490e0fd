"""What the figures mean: the verdict as a sentence, and the gate's. Both are pure; recall is shown in percent."""

from collections.abc import Mapping
from typing import Literal, Protocol

from finetune_trainer.records import GateResult, MetricChange

Verdict = Literal["Improved", "NoGain", "Worse", "Inconclusive"]

SLACK = 1e-6
"""Recall is a float32 mean: 0.44 - 0.42 is a little less than 0.02, which a gate of 0.02 must not refuse."""


class Gate(Protocol):
    """`evaluation.gate` of the spec."""

    @property
    def min_gain(self) -> float: ...
    @property
    def compare(self) -> Literal["estimate", "lowerBound"]: ...
    @property
    def max_loss(self) -> float | None: ...


def judge(gate: Gate, metric: str, changes: Mapping[str, MetricChange]) -> GateResult:
    """Hold the headline `metric` against `gate` by its gain or lower bound, the other direction always by its gain."""
    misses = [miss for miss in (_gain_missed(gate, metric, changes), _loss_exceeded(gate, metric, changes)) if miss]
    if misses:
        return GateResult(passed=False, message=f"Gate not met: {'; '.join(misses)}.")
    figure, what = _judged(gate, changes[metric])
    met = f"{what} of {name(metric)} is {points(figure)}, at least the {points(gate.min_gain)} asked for"
    if gate.max_loss is None:
        return GateResult(passed=True, message=f"Gate met: {met}.")
    other = other_direction(metric)
    kept = f"{name(other)} changed by {points(changes[other].gain)}, with a loss of {_bare(gate.max_loss)} allowed"
    return GateResult(passed=True, message=f"Gate met: {met}; {kept}.")


def verdict(change: MetricChange, no_gain: bool) -> Verdict:
    """Improved or Worse where the headline's interval excludes 0; NoGain where the base stayed the model."""
    if no_gain:
        return "NoGain"
    if change.interval95.low > 0:
        return "Improved"
    return "Worse" if change.interval95.high < 0 else "Inconclusive"


def sentence(metric: str, change: MetricChange, no_gain: bool) -> str:
    """The verdict for a person, with its figures."""
    pictures = f"{change.interval95.images} held-out pictures"
    before, after = percent(change.before), percent(change.after)
    subject = name(metric)
    if no_gain:
        return (
            "No gain: no fine-tuned weights beat the base on the validation pictures by more than one standard error, "
            f"so the base stays the model, with {subject} {after} on {pictures}."
        )
    low, high = points(change.interval95.low, unit=False), points(change.interval95.high, unit=False)
    figures = f"from {before} to {after} ({points(change.gain)}, 95 % interval {low} to {high}) on {pictures}"
    match verdict(change, no_gain):
        case "Improved":
            return f"{_capital(subject)} rose {figures}."
        case "Worse":
            return f"{_capital(subject)} fell {figures}."
        case _:
            return f"{_capital(subject)} went {figures}: that may be chance, as the interval holds 0."


def name(metric: str) -> str:
    """image_retrieval_recall@5 as a person says it: image recall@5."""
    return metric.replace("_retrieval_recall@", " recall@")


def other_direction(metric: str) -> str:
    """text_retrieval_recall@5 for image_retrieval_recall@5, and the reverse."""
    direction, _, rest = metric.partition("_")
    return f"{'text' if direction == 'image' else 'image'}_{rest}"


def percent(recall: float) -> str:
    """0.4213 as 42.1 %."""
    return f"{100 * recall:.1f} %"


def points(difference: float, unit: bool = True) -> str:
    """0.152 as +15.2 points; 0.0, also where it rounds to 0, without a sign."""
    rounded = round(100 * difference, 1)
    figure = f"{rounded:+.1f}" if rounded else "0.0"
    return f"{figure} points" if unit else figure


def _gain_missed(gate: Gate, metric: str, changes: Mapping[str, MetricChange]) -> str:
    figure, what = _judged(gate, changes[metric])
    if figure >= gate.min_gain - SLACK:
        return ""
    return f"{what} of {name(metric)} is {points(figure)}, and minGain asks for {points(gate.min_gain)}"


def _loss_exceeded(gate: Gate, metric: str, changes: Mapping[str, MetricChange]) -> str:
    other = other_direction(metric)
    if gate.max_loss is None or changes[other].gain >= -gate.max_loss - SLACK:
        return ""
    return f"{name(other)} lost {_bare(-changes[other].gain)}, and maxLoss allows {_bare(gate.max_loss)}"


def _judged(gate: Gate, change: MetricChange) -> tuple[float, str]:
    """The figure that the gate looks at, and what it is called."""
    if gate.compare == "lowerBound":
        return change.interval95.low, "the lower bound of the gain"
    return change.gain, "the gain"


def _bare(size: float) -> str:
    """A size in points, without sign."""
    return f"{100 * size:.1f} points"


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
