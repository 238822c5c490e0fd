"""What is left of before a restart, or of a Job that vanished, counts for nothing of the new one's."""

from dataclasses import replace
from datetime import timedelta

import pytest

from finetune_sdk.contract import Termination
from tests.unit.operator_plan.given import NOW, SETTINGS, Given, Row, a_job, a_run, at, check, deleting, ended, running

LIFE = {"startDeadlineSeconds": 60, "restart": 1}
AGAIN = a_run(lifecycle=LIFE).seen(
    "Pending", "WaitingForPreviousPods", restarts=1, attempts=1, waitingSince=at(-60), message="pod r-trainer-1"
)
LATE = ("startDeadlineSeconds of 60 s: pod r-trainer-1", "raise spec.lifecycle.restart")
OLD = Termination(reason="DataInvalid", message="row 7", exit_code=65)
ENDED = a_run(lifecycle={"restart": 1}).trained("Failed", "DataInvalid", completionTime=at(-5)).told(ended=OLD)
SPENT = a_job(uid="2", condition="Failed", reason="BackoffLimitExceeded", message="the limit is reached")
STOPPED = a_run(lifecycle={"restart": 1}, suspend=True).seen("Suspended", restarts=1, attempts=1)
RESTARTS: dict[str, Row] = {
    "a pod of before it is no start": Row(
        AGAIN.with_pod(deleting(running())), [], "Failed", "WaitingForPreviousPods", LATE),
    "nor one whose Job still goes": Row(
        AGAIN.with_job(condition="Failed", deleting=True).with_pod(deleting(running())), [], "Failed",
        "WaitingForPreviousPods", LATE),
    "nor one whose Job was not deleted yet": Row(
        AGAIN.with_job(condition="Failed").with_pod(deleting(running())), [], "Failed", "WaitingForPreviousPods", LATE),
    "nor one on a lost node": Row(
        AGAIN.seen("Pending", "NodeLost", restarts=1, waitingSince=at(-60), message="pod r-trainer-1").with_pod(
            deleting(running(), -90)), [], "Failed", "NodeLost", LATE),
    "nor one that lives beside the new Job": Row(
        a_run(lifecycle=LIFE).seen("Starting", restarts=1, jobUid="2", waitingSince=at(-60)).with_job(uid="2")
        .with_pod(running()), ["delete Job/r-trainer"], "Failed", "DeadlineExceeded"),
    "nor is the failure of one that lingers while the run is suspended": Row(
        STOPPED.with_job(condition="Failed", deleting=True), [], "Suspended"),
    "nor while a pod of it still ends": Row(
        STOPPED.seen("Suspending", restarts=1).with_job(condition="Failed", deleting=True)
        .with_pod(deleting(running())), [], "Suspending"),
    "nor once it is resumed": Row(
        STOPPED.spec(suspend=False).with_job(condition="Failed", deleting=True), [], "Pending",
        "WaitingForPreviousPods"),
    "but a Job that was at work since, and is deleted, failed itself": Row(
        STOPPED.trained("Suspending", restarts=1).with_job(condition="Failed", deleting=True)
        .with_pod(ended(77)), [], "Failed", "StorageDenied"),
    "a pod of the new Job is": Row(
        a_run(lifecycle=LIFE).seen("Starting", restarts=1, jobUid="2", waitingSince=at(-60)).with_job(uid="2")
        .with_pod(running(), ownerReferences=[{"uid": "2", "controller": True}]), [], "Running"),
}  # fmt: skip


@pytest.mark.parametrize("row", RESTARTS.values(), ids=RESTARTS)
def test_restarts(row: Row) -> None:
    check(row)


def test_a_start_that_is_too_late_ended_now_and_not_when_the_job_before_it_did() -> None:
    given = AGAIN.with_job(condition="Failed", finished=-90, deleting=True)
    status = given.plan().status
    assert status is not None
    assert (status.completion_time, status.waiting_seconds) == (NOW, 60)


def made(given: Given) -> Given:
    """The same once it has its second Job and a status that knows it."""
    decided = given.plan()
    assert decided.status is not None
    status = decided.status.model_copy(update={"job_uid": "2"})
    return given.after(replace(decided, status=status))


def test_an_old_attempts_end_is_not_the_new_ones() -> None:
    restarted = ENDED.after(ENDED.plan())
    assert restarted.observed().run.status.pod is not None, "it is what is waited for"
    second = made(restarted)
    assert second.observed().run.status.pod is None
    status = replace(second, job=SPENT).plan().status
    assert status is not None
    assert (status.state, status.reason) == ("Failed", "RetriesExhausted")


@pytest.mark.parametrize("given", [ENDED.after(ENDED.plan()), a_run().trained().told(ended=OLD)], ids=["again", "lost"])
def test_nor_where_the_operator_died_before_it_wrote_of_the_new_job(given: Given) -> None:
    status = replace(given, job={**SPENT, "spec": a_job()["spec"]}).plan().status
    assert status is not None
    assert (status.state, status.reason) == ("Failed", "RetriesExhausted")


def test_a_job_made_anew_forgets_the_pod_of_the_one_that_vanished() -> None:
    second = made(a_run().trained().told(ended=OLD))
    assert second.observed().run.status.pod is None
    status = replace(second, job=SPENT).plan().status
    assert status is not None
    assert status.reason == "RetriesExhausted"


def test_a_wait_is_repeated_on_a_fresh_reading_alone() -> None:
    """A cached pod that is gone would hold the run up; the first word needs no reading, so that few are made."""
    cached = replace(a_run().with_pod(deleting(running())), fresh=False)
    first = cached.plan()
    assert not first.needs_fresh
    assert first.wake_at == NOW + SETTINGS.look_again
    waits = cached.after(first)
    assert waits.plan(10).needs_fresh
    read = replace(waits, fresh=True).plan(10)
    assert (read.status, read.needs_fresh) == (None, False)
    assert read.wake_at == NOW + timedelta(seconds=10) + SETTINGS.look_again
