"""What GitOps tools see: in progress until the Job is accepted, failed on terminal failure only."""

import pytest

from finetune_sdk.api.status import FinetuneRunStatus
from tests.support.kstatus import compute
from tests.unit.operator_plan.given import Given, Row, a_run, stored
from tests.unit.operator_plan.tables import ROWS

VERDICTS = {
    "Pending": "InProgress",
    "Queued": "Current",
    "Starting": "Current",
    "Running": "Current",
    "Retrying": "Current",
    "Suspending": "Current",
    "Suspended": "Current",
    "Succeeded": "Current",
    "Failed": "Failed",
}
DECIDED = {sentence: row for sentence, row in ROWS.items() if row.given.plan().status is not None}


def verdict(given: Given) -> str:
    return compute(given.run)[0]


@pytest.mark.parametrize("row", DECIDED.values(), ids=DECIDED)
def test_each_state_has_its_verdict(row: Row) -> None:
    """Of a status that was just decided, with the generation that it speaks of."""
    assert verdict(row.given.after(row.given.plan())) == VERDICTS[row.state]


def test_every_state_is_among_them() -> None:
    assert {row.state for row in DECIDED.values()} == set(VERDICTS)


def test_a_run_that_no_operator_has_seen_is_in_progress() -> None:
    """K2: by the status that the CRD gives it."""
    unseen = Given({**a_run().run, "status": stored(FinetuneRunStatus())})
    assert compute(unseen.run) == ("InProgress", "FinetuneRun generation is 1, but latest observed generation is 0")


def test_a_change_that_nobody_has_seen_is_in_progress() -> None:
    done = a_run().trained().with_job(condition="Complete")
    changed = done.after(done.plan()).spec(suspend=True)
    assert verdict(changed) == "InProgress"
    assert verdict(changed.after(changed.plan())) == "Current"


def test_a_failure_says_its_words_and_a_restart_takes_them_back() -> None:
    failed = a_run(compute={"nodes": 2})
    assert "spec.compute.nodes" in compute(failed.after(failed.plan()).run)[1]
    again = a_run(lifecycle={"restart": 1}).trained("Failed", "Hung")
    assert verdict(again.after(again.plan())) == "InProgress"


def test_a_deleted_run_is_terminating() -> None:
    assert verdict(a_run().metadata(deletionTimestamp="2026-01-01T00:00:00Z")) == "Terminating"
