"""When a run is looked at again after a pass, though no watch tells of it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from finetune_operator.actions import Plan
from finetune_operator.reconcile import again_at
from tests.unit.operator_plan.given import NOW, SETTINGS, Given, a_run

LATER = NOW + SETTINGS.look_again
SOON = NOW + timedelta(seconds=3)
CASES: dict[str, tuple[Given, dict[str, Any], datetime | None]] = {
    "a turn is followed at once": (a_run().seen("Running"), {"state": "Failed"}, NOW),
    "a start makes itself heard": (a_run(), {"state": "Starting"}, LATER),
    "so does a trainer at work": (a_run().seen("Starting"), {"state": "Running"}, LATER),
    "what is as it was has no second look": (a_run().seen("Running"), {"state": "Running", "message": "m"}, None),
}


def seen_again(given: Given, said: dict[str, Any], wake: datetime | None) -> datetime | None:
    observed = given.observed()
    decided = Plan(status=observed.run.status.model_copy(update=said), wake_at=wake)
    return again_at(observed, decided, NOW, SETTINGS.look_again)


@pytest.mark.parametrize(("given", "said", "at"), CASES.values(), ids=CASES)
def test_when_a_run_is_looked_at_again(given: Given, said: dict[str, Any], at: datetime | None) -> None:
    assert seen_again(given, said, None) == at


def test_a_deadline_comes_before_the_second_look() -> None:
    assert seen_again(a_run(), {"state": "Starting"}, SOON) == SOON
