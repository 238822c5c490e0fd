"""Where the API server takes no Job, or no change of one: the run says so, and goes on being looked after."""

from datetime import timedelta

import pytest

from tests.unit.operator_plan.given import (
    CREATE,
    NOW,
    Given,
    Row,
    a_run,
    at,
    at_step,
    check,
    deleting,
    running,
    said,
)

WEBHOOK = 'Internal error occurred: failed calling webhook "mjob.kb.io": connection refused'
CHANGE = "the API server refuses a change of the Job: no. It is tried again"
RETRIES = a_run(lifecycle={"maxRetries": 9})
RAISED = "patch Job/r-trainer {'backoffLimit': 9}"
STOPPED = a_run(suspend=True)
RESUMED = a_run().trained("Suspended").with_job(suspended=True)
TTL = {"ttlSecondsAfterFinished": 9}
DONE = a_run(lifecycle=TTL).trained("Succeeded").with_job(condition="Complete")
REFUSALS: dict[str, Row] = {
    "a webhook that does not answer": Row(
        a_run().refused(WEBHOOK, 500), [], "Pending", "JobRejected",
        (f"the API server cannot take the Job: {WEBHOOK}. It is tried again",)),
    "a server that does not say why": Row(a_run().refused("", 503), [], "Pending", "JobRejected", ("status 503",)),
    "a webhook that is back": Row(
        a_run().seen("Pending", "JobRejected", jobUid=None).refused(WEBHOOK, 500, -10), [CREATE], "Starting"),
    "a suspend: the trainer goes on": Row(
        STOPPED.trained().with_job().with_pod(running()).refused("no"), [], "Running", "JobRejected", (CHANGE,)),
    "and the suspend is tried again": Row(
        STOPPED.trained("Running", "JobRejected").with_job().with_pod(running()).refused("no", seconds=-10),
        ["patch Job/r-trainer {'suspend': True}"], "Suspending"),
    "a suspend that is no longer asked for": Row(
        a_run().trained("Running", "JobRejected").with_job().with_pod(running()).refused("no"), [], "Running"),
    "a resume": Row(RESUMED.refused("no"), [], "Starting", "JobRejected", (CHANGE,)),
    "and the resume is tried again": Row(
        RESUMED.refused("no", seconds=-10), ["patch Job/r-trainer {'suspend': False}"], "Starting"),
    "other retries": Row(
        RETRIES.trained().with_job().with_pod(running()).refused("no"), [], "Running", "JobRejected", (CHANGE,)),
    "and they are tried again": Row(
        RETRIES.trained("Running", "JobRejected").with_job().with_pod(running()).refused("no", seconds=-10),
        [RAISED], "Running"),
    "other retries do not hide what went wrong": Row(
        RETRIES.trained().with_job().with_pod(said("Hung", 74)).refused("no"), [], "Retrying", "Hung"),
    "a time to live: what is over stays as it is": Row(DONE.refused("no"), [], "Succeeded"),
    "and the time to live is tried again": Row(
        DONE.refused("no", seconds=-10), [f"patch Job/r-trainer {TTL}"], "Succeeded"),
    "no longer than a start may take": Row(
        a_run(lifecycle={"startDeadlineSeconds": 60}).seen(
            "Pending", "JobRejected", jobUid=None, waitingSince=at(-60), message=WEBHOOK).refused(WEBHOOK, 500),
        [], "Failed", "JobRejected", ("failed calling webhook",)),
    "nor does it end what comes later": Row(
        STOPPED.trained("Running", "JobRejected").with_job(suspended=True).with_pod(deleting(running())).refused("no"),
        [], "Suspending"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSALS.values(), ids=REFUSALS)
def test_refusals(row: Row) -> None:
    check(row)


@pytest.mark.parametrize(
    "given",
    [STOPPED.trained().with_job().with_pod(running()), RESUMED, RETRIES.trained().with_job(), DONE, a_run()],
    ids=["suspend", "resume", "retries", "ttl", "job"],
)
def test_a_refused_write_is_tried_again_when_it_is_due(given: Given) -> None:
    refused = given.refused("no", seconds=-4)
    assert refused.plan().wake_at == NOW + timedelta(seconds=6)
    assert refused.plan(5).actions == ()
    assert len(refused.plan(6).actions) == 1


def test_progress_is_written_while_a_change_is_refused() -> None:
    given = RETRIES.trained().with_job().with_pod(running()).refused("no").told(progress=at_step(42))
    status = given.plan().status
    assert status is not None
    assert status.progress is not None
    assert status.progress.step == 42


def test_a_server_that_fails_asks_for_no_other_file() -> None:
    status = a_run().refused(WEBHOOK, 500).plan().status
    assert status is not None
    assert "spec.compute" not in status.message
