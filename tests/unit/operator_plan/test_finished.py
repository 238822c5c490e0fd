"""After the end: nothing starts, what is left over goes; and a restart begins anew."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.operator_plan.given import (
    CREATE,
    DELETE,
    NOW,
    Row,
    a_job,
    a_result,
    a_run,
    at,
    check,
    deleting,
    ended,
    running,
    said,
)

TTL = {"ttlSecondsAfterFinished": 9}
RAISED = {"restart": 1}
DONE = a_run().trained("Succeeded", completionTime=at(-5), activeSince=None)
FAILED = a_run().trained("Failed", "StorageDenied", completionTime=at(-5), activeSince=None, activeSeconds=25)
AGAIN = FAILED.spec(lifecycle=RAISED)
FINISHED: dict[str, Row] = {
    "a finished run starts nothing": Row(DONE, [], "Succeeded"),
    "nor does a failed one": Row(FAILED, [], "Failed", "StorageDenied"),
    "also without its Job": Row(DONE, [], "Succeeded"),
    "suspended afterwards it stays as it is": Row(DONE.spec(suspend=True), [], "Succeeded"),
    "a Job that is still at work is deleted": Row(FAILED.with_job(), [DELETE], "Failed", "StorageDenied"),
    "once": Row(FAILED.with_job(deleting=True), [], "Failed", "StorageDenied"),
    "the time to live goes to its Job": Row(
        a_run(lifecycle=TTL).trained("Succeeded").with_job(condition="Complete"), [f"patch Job/r-trainer {TTL}"],
        "Succeeded"),
    "once, too": Row(
        a_run(lifecycle=TTL).trained("Succeeded").with_job(condition="Complete", **TTL), [], "Succeeded"),
    "and is taken away again": Row(
        DONE.with_job(condition="Complete", **TTL),
        ["patch Job/r-trainer {'ttlSecondsAfterFinished': None}"], "Succeeded"),
    "but not before the outcome is latched": Row(
        a_run(lifecycle=TTL).trained().with_job(condition="Complete"), [], "Succeeded", "ResultUnread"),
    "a restart raised on a success does nothing": Row(DONE.spec(lifecycle=RAISED), [], "Succeeded"),
    "a restart deletes the failed Job": Row(
        AGAIN.with_job(condition="Failed"), [DELETE], "Pending", "", ("spec.lifecycle.restart is 1",)),
    "again, where the operator died before it did": Row(
        a_run(lifecycle=RAISED).trained("Pending", restarts=1).with_job(condition="Failed"), [DELETE], "Pending"),
    "while that one goes it waits": Row(
        a_run(lifecycle=RAISED).trained("Pending", restarts=1).with_job(condition="Failed", deleting=True), [],
        "Pending", "WaitingForPreviousPods"),
    "then it makes another": Row(
        a_run(lifecycle=RAISED).seen("Pending", restarts=1, attempts=4), [CREATE], "Starting"),
    "which has not failed yet": Row(
        a_run(lifecycle=RAISED).seen("Starting", restarts=1, attempts=4, jobUid="2").with_job(uid="2"), [],
        "Starting"),
    "raised before it failed it is used up": Row(
        a_run(lifecycle=RAISED).trained("Failed", "Hung", restarts=1), [], "Failed", "Hung"),
    "raised twice it starts once": Row(
        FAILED.spec(lifecycle={"restart": 2}), [], "Pending", "", ("spec.lifecycle.restart is 2",)),
    "raised on a suspended one it waits for the resume": Row(
        a_run(lifecycle=RAISED, suspend=True).seen("Pending", restarts=1), [], "Suspended"),
    "raised on what cannot run it is refused again": Row(
        a_run(lifecycle=RAISED, compute={"nodes": 2}).seen("Failed", "InvalidSpec", jobUid=None), [], "Failed",
        "InvalidSpec"),
    "a deleted run is let go": Row(
        DONE.metadata(deletionTimestamp=at(0)).with_job(), [], "Succeeded"),
}  # fmt: skip


@pytest.mark.parametrize("row", FINISHED.values(), ids=FINISHED)
def test_finished(row: Row) -> None:
    check(row)


def test_a_finished_run_follows_its_generation_in_every_condition() -> None:
    """`kubectl wait --for=condition=Succeeded` takes no condition of an older generation."""
    done = a_run().trained().with_job(condition="Complete").with_pod(said("Succeeded", 0, result=a_result()))
    latched = done.after(done.plan()).spec(suspend=True)
    status = latched.plan().status
    assert status is not None
    assert status.observed_generation == 2
    assert {condition.observed_generation for condition in status.conditions} == {2}
    before = latched.observed().run.status
    assert status.model_copy(update={"observed_generation": 1, "conditions": before.conditions}) == before


def test_a_run_raised_while_it_runs_is_not_started_again_when_it_fails() -> None:
    given = a_run(lifecycle=RAISED).trained().with_job(condition="Failed").with_pod(ended(77))
    latched = given.after(given.plan())
    assert latched.observed().run.status.restarts == 1
    assert latched.plan().status is None


def test_a_restart_keeps_what_is_known_of_training_and_counts_deadlines_anew() -> None:
    """K27; active time goes on adding up, as it is what activeDeadlineSeconds bounds."""
    known = {"attempts": 4, "checkpoint": {"step": 7, "uri": "s3://b/out/checkpoints/step-7/"}, "gpuSeconds": 25}
    given = AGAIN.trained("Failed", "Hung", **known, completionTime=at(-5), activeSince=None, waitingSeconds=60)
    status = given.plan().status
    assert status is not None
    assert (status.attempts, status.checkpoint is not None, status.gpu_seconds) == (4, True, 25)
    assert (status.start_time, status.completion_time, status.waiting_seconds) == (None, None, 0)
    assert (status.waiting_since, status.active_since) == (NOW, None)


def test_a_restart_takes_the_operators_image_of_today() -> None:
    """A bug that a newer image mends must not come with the restart."""
    restarted = AGAIN.after(AGAIN.plan())
    status = restarted.plan().status
    assert status is not None
    assert (status.image, status.jobs) == ("trainer:1", 2)


def test_a_restarted_run_fails_anew_with_fresh_retries() -> None:
    """Its second Job is told from the first, whose pods are still there."""
    given = replace(AGAIN.trained("Failed", "Hung").with_pod(said("Hung", 74)), job=None)
    restarted = given.after(given.plan())
    made = restarted.after(restarted.plan())
    second = replace(made, job=a_job(uid="2"))
    first = second.plan().status
    assert first is not None
    assert (first.state, first.jobs) == ("Starting", 3)
    failed = replace(second, job=a_job(uid="2", condition="Failed", reason="BackoffLimitExceeded"))
    status = failed.with_pod(ended(77), ownerReferences=[{"uid": "2", "controller": True}]).plan().status
    assert status is not None
    assert status.reason == "StorageDenied"


def test_what_ends_or_starts_is_decided_on_fresh_reads() -> None:
    stale = replace(a_run(), fresh=False)
    assert stale.plan().needs_fresh
    assert replace(FAILED.with_job(), fresh=False).plan().needs_fresh
    assert replace(a_run().trained().with_job(condition="Complete"), fresh=False).plan().needs_fresh
    assert not replace(a_run().trained().with_job().with_pod(running()), fresh=False).plan().needs_fresh


def test_an_unread_spec_does_not_forget_which_restart_was_carried_out() -> None:
    """Else the operator that can read it again would start it again."""
    unread = a_run(output=None, lifecycle=RAISED).seen("Pending", restarts=1, jobUid=None).plan().status
    assert unread is not None
    assert (unread.reason, unread.restarts) == ("InvalidSpec", 1)


def test_pods_of_a_failed_run_that_still_end_do_not_hold_it_up() -> None:
    status = FAILED.with_pod(deleting(running())).plan()
    assert status.status is None
    assert status.wake_at is None
    assert NOW + timedelta(seconds=1) == AGAIN.plan().wake_at
