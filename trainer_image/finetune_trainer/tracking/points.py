"""What trackers are told: named figures of a step, under the names that every tracker shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from finetune_trainer.records import Recalls, StepMetrics

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Point:
    """Figures that belong to one step."""

    step: int
    """0 is the base model; a training step's figures are those after it."""
    values: Mapping[str, float]
    """By name, such as "train/loss". Never empty."""

    @property
    def group(self) -> str:
        """`TRAIN` or `TEST`: each comes in the order of its steps."""
        return next(iter(self.values)).partition("/")[0]


def point_of_line(line: StepMetrics) -> Point:
    """A line of metrics.jsonl: train/..., and validation/... where it was measured."""
    values = {
        "loss": line.loss,
        "learning_rate": line.learning_rate,
        "logit_scale": line.logit_scale,
        "gradient_norm": line.gradient_norm,
        "epoch": line.epoch,
    }
    return Point(line.step, _named(TRAIN, values) | _named(VALIDATION, line.validation or {}))


def point_of_test(step: int, recalls: Recalls) -> Point:
    """The test set's figures after `step` steps."""
    return Point(step, _named(TEST, recalls))


def _named(group: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}
