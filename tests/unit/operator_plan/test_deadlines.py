"""Deadlines and clocks: time adds up over suspends, is woken for, and never shrinks."""

from datetime import timedelta

import pytest

from tests.unit.operator_plan.given import (
    CREATE,
    DELETE,
    NOW,
    Given,
    Row,
    a_run,
    at,
    check,
    deleting,
    ended,
    running,
    unscheduled,
)

ACTIVE, START = {"activeDeadlineSeconds": 60}, {"startDeadlineSeconds": 60}
LONG = a_run(lifecycle=ACTIVE).trained(activeSeconds=40, activeSince=at(-20))
HELD = a_run(lifecycle=START).seen("Starting", "Unschedulable", message="no node fits", waitingSince=at(-60))
DEADLINES: dict[str, Row] = {
    "40 s before a suspend and 20 s after it": Row(
        LONG.with_job().with_pod(running()), [DELETE], "Failed", "DeadlineExceeded",
        ("60 s", "spec.lifecycle.activeDeadlineSeconds")),
    "also between two attempts": Row(
        LONG.seen("Retrying", activeSeconds=60, startTime=at(-90)).with_job(), [DELETE], "Failed", "DeadlineExceeded"),
    "not while it is suspended": Row(
        a_run(lifecycle=ACTIVE, suspend=True).trained("Suspended", activeSeconds=70, activeSince=None), [],
        "Suspended"),
    "nor while it saves": Row(
        a_run(lifecycle=ACTIVE, suspend=True).trained("Suspending", activeSeconds=70).with_pod(deleting(running())),
        [], "Suspending"),
    "but before a resume starts anything": Row(
        a_run(lifecycle=ACTIVE).trained("Suspended", activeSeconds=60, activeSince=None).with_job(suspended=True),
        [DELETE], "Failed", "DeadlineExceeded"),
    "nor a restart with the same deadline": Row(
        a_run(lifecycle=ACTIVE).seen("Pending", activeSeconds=60), [], "Failed", "DeadlineExceeded"),
    "raised in time it goes on": Row(
        a_run(lifecycle={"activeDeadlineSeconds": 61}).trained(activeSeconds=40, activeSince=at(-20)).with_job()
        .with_pod(running()), [], "Running"),
    "complete in time, though seen late": Row(
        LONG.with_job(condition="Complete", finished=-50), [], "Succeeded", "ResultUnread"),
    "not started in time: the cause is the reason": Row(
        HELD.with_job().with_pod(unscheduled("no")), [DELETE], "Failed", "Unschedulable",
        ("spec.lifecycle.startDeadlineSeconds of 60 s: no node fits", "spec.lifecycle.restart")),
    "without a cause it is the deadline": Row(
        HELD.seen("Starting", waitingSince=at(-60), message="the pod starts").with_job(), [DELETE], "Failed",
        "DeadlineExceeded", ("the pod starts",)),
    "started in time, though seen late": Row(HELD.with_job().with_pod(running()), [], "Running"),
    "not before it is over": Row(
        HELD.seen("Starting", "Unschedulable", waitingSince=at(-59)).with_job().with_pod(unscheduled("no")), [],
        "Starting", "Unschedulable"),
    "a refused Job counts": Row(
        HELD.seen("Pending", "JobRejected", jobUid=None, waitingSince=at(-60), message="refused").refused("no"), [],
        "Failed", "JobRejected", ("refused",)),
    "suspended time does not": Row(
        a_run(lifecycle=START, suspend=True).seen("Suspended", waitingSeconds=90), [], "Suspended"),
    "a resume starts nothing that is too late already": Row(
        a_run(lifecycle=START).seen("Suspended", waitingSeconds=60, jobUid=None), [], "Failed", "DeadlineExceeded"),
    "once begun, no wait is a start": Row(
        a_run(lifecycle=START).trained("Suspended", waitingSeconds=60, activeSince=None), [CREATE], "Starting"),
}  # fmt: skip


@pytest.mark.parametrize("row", DEADLINES.values(), ids=DEADLINES)
def test_deadlines(row: Row) -> None:
    check(row)


@pytest.mark.parametrize(
    ("given", "seconds"),
    {
        "active": (a_run(lifecycle=ACTIVE).trained(activeSince=at(-20)).with_job().with_pod(running()), 40),
        "active, of a part of a second": (
            a_run(lifecycle=ACTIVE).trained(activeSince=at(0), activeSeconds=40.5).with_job().with_pod(running()),
            20,
        ),
        "start": (a_run(lifecycle=START), 60),
        "start, of a refused Job": (a_run(lifecycle={"startDeadlineSeconds": 5}).refused("no"), 5),
        "a refused Job": (a_run().refused("no"), 10),
        "earlier pods": (a_run().with_job(deleting=True), 10),
        "a pod that may be lost": (a_run().trained().with_job().with_pod(deleting(running(), 5)), 35),
        "a pod that may be lost while it saves": (
            a_run(suspend=True).trained("Suspending").with_job(suspended=True).with_pod(deleting(running(), 5)),
            35,
        ),
        "one that is not asked to end yet, and no deadline": (
            a_run(lifecycle=ACTIVE, suspend=True)
            .trained("Suspending", activeSince=at(-90))
            .with_job(suspended=True)
            .with_pod(running()),
            10,
        ),
        "a restart": (a_run(lifecycle={"restart": 1}).trained("Failed", "Hung"), 1),
    }.values(),
)
def test_what_is_due_is_woken_for(given: Given, seconds: float) -> None:
    assert given.plan().wake_at == NOW + timedelta(seconds=seconds)


def test_nothing_is_woken_for_where_nothing_is_due() -> None:
    suspended = a_run(lifecycle=ACTIVE, suspend=True)
    for given in (
        a_run().trained().with_job().with_pod(running()),
        suspended.trained("Suspended", activeSeconds=40, activeSince=None),
        a_run(lifecycle=ACTIVE).trained("Succeeded"),
    ):
        assert given.plan().wake_at is None


def test_seconds_of_gpus_add_up_to_the_end_and_no_further() -> None:
    """Also where the operator saw neither the beginning nor the end."""
    unseen = a_run().seen("Starting").with_job(condition="Failed", finished=-10).with_pod(ended(77, since=-35))
    status = unseen.plan(600).status
    assert status is not None
    assert (status.active_seconds, status.gpu_seconds) == (25, 25)


def test_seconds_begin_when_the_trainer_did() -> None:
    given = a_run(compute={"gpusPerNode": 1}).seen("Starting").with_job().with_pod(running(since=-25))
    status = given.plan().status
    assert status is not None
    assert status.active_since == NOW - timedelta(seconds=25)
    stopped = given.after(given.plan()).spec(suspend=True).with_job(suspended=True)
    assert (later := Given(stopped.run, stopped.job).plan(5).status) is not None
    assert (later.state, later.active_seconds, later.gpu_seconds) == ("Suspended", 30, 30)


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    given = LONG.with_job(condition="Complete", finished=-3600).with_pod(ended(0))
    status = given.plan(-3600).status
    assert status is not None
    assert status.active_seconds == 40
    assert status.completion_time is not None
    assert status.start_time is not None
    assert status.completion_time >= status.start_time
