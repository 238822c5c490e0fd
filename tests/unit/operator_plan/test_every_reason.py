"""No reason, no state, without a row; and every row leaves a status that the API server takes."""

from typing import get_args

import pytest

from finetune_sdk.api import reasons
from finetune_sdk.api.status import FinetuneRunStatus
from tests.unit.operator_plan.given import Row, stored
from tests.unit.operator_plan.tables import ROWS, TABLES

BY_THE_SCHEMA = {reasons.WAITING_FOR_OPERATOR}
"""The CRD's default: what no operator has seen it cannot say anything of."""


def test_every_reason_has_a_row() -> None:
    assert {row.reason for row in ROWS.values()} == reasons.REASONS - BY_THE_SCHEMA | {""}
    assert FinetuneRunStatus().reason in BY_THE_SCHEMA


def test_every_reason_has_words_that_are_looked_for() -> None:
    told = {row.reason for row in ROWS.values() if row.words}
    assert told >= reasons.REASONS - BY_THE_SCHEMA


def test_every_state_has_a_row() -> None:
    assert {row.state for row in ROWS.values()} == set(get_args(reasons.State))


def test_no_sentence_is_said_twice() -> None:
    assert len(ROWS) == sum(map(len, TABLES))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_status_is_valid_and_comes_back_as_it_was(row: Row) -> None:
    decided = row.given.plan()
    if decided.status is not None:
        assert FinetuneRunStatus.model_validate(stored(decided.status)) == decided.status


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_failed_run_has_the_reason_of_an_end_or_of_what_held_it_up(row: Row) -> None:
    status = row.given.plan().status
    if status is None or status.state != "Failed":
        return
    assert status.completion_time is not None
    assert status.message
    if "startDeadlineSeconds" not in status.message:
        assert status.reason in reasons.TERMINAL | reasons.TERMINAL_AFTER_RETRIES
