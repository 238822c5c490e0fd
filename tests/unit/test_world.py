"""What a run tells, and to whom."""

import pytest

from finetune_sdk.errors import Stopped
from finetune_trainer.pipeline.log import NO_LOG
from finetune_trainer.pipeline.stop import StopFlag
from finetune_trainer.pipeline.world import StoppingProgress
from finetune_trainer.progress import Silent


class Heard(Silent):
    """The calls that came through."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        self.calls.append((stage, total, unit, done))

    def advance(self, amount: int = 1, **figures: float) -> None:
        self.calls.append((amount, figures))

    def note(self, message: str) -> None:
        self.calls.append(message)


def test_work_inside_a_stage_shows_nothing_and_is_heard_of() -> None:
    heard, stop = Heard(), StopFlag()
    quiet = StoppingProgress(heard, stop, "finetune run", NO_LOG).quiet()
    quiet.start("validate: pictures", 3, "images")
    quiet.advance(2, loss=1.0)
    quiet.note("nobody reads this")
    assert heard.calls == [(0, {})]  # a supervisor takes silence for a hang
    stop.requested = True
    with pytest.raises(Stopped):
        quiet.advance()
