"""What the trackers outside have in common: what a run's is called there, and what it can be asked."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from finetune_sdk.api.base import Schema
from finetune_trainer.tracking.points import Point

PROJECT = "finetune"
"""Where runs are kept that name no project or experiment."""


class TrackedRun(Schema):
    """A run as a tracker knows it."""

    key: str
    """The same for every attempt at a run, and of no other run."""
    name: str
    config: dict[str, Any]
    """Resolved values, which nest; no secrets."""


class Sink(Protocol):
    """A run in a tracker, open to be written. Every call may raise whatever the tracker's package raises."""

    @property
    def held(self) -> Mapping[str, int]:
        """The last step of each group that the tracker had when the run was opened; absent where it had none."""

    def send(self, points: Sequence[Point]) -> None:
        """Add points, in the order of their steps. Returns once the tracker has them, or keeps them itself."""

    def finish(self, *, complete: bool) -> None:
        """Close the run; not `complete`: an attempt ended early, and another may go on."""
