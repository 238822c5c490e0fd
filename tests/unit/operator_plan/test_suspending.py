"""Suspend and resume, with and without a queue: what stops, what goes on, and whose Job it is to start."""

import pytest

from tests.unit.operator_plan.given import (
    CREATE,
    DELETE,
    NOW,
    Row,
    a_run,
    check,
    deleting,
    ended,
    running,
    said,
    unscheduled,
    waiting,
)

SUSPEND = "patch Job/r-trainer {'suspend': True}"
RESUME = "patch Job/r-trainer {'suspend': False}"
STOPPED = a_run(suspend=True)
QUEUED = a_run().in_queue()
SUSPENDING: dict[str, Row] = {
    "suspended from the start: no Job": Row(STOPPED, [], "Suspended", "", ("spec.suspend: false starts it",)),
    "also with a queue": Row(STOPPED.in_queue(), [], "Suspended"),
    "then resumed: it starts": Row(a_run().seen("Suspended", jobUid=None, jobs=0), [CREATE], "Starting"),
    "a running pod saves and ends": Row(
        STOPPED.trained().with_job().with_pod(running()), [SUSPEND], "Suspending", "", ("r-trainer-1 saves",)),
    "while it does nothing more is done": Row(
        STOPPED.trained("Suspending").with_job(suspended=True).with_pod(deleting(running())), [], "Suspending"),
    "until no pod is left": Row(
        STOPPED.trained("Suspending").with_job(suspended=True), [], "Suspended", "", ("goes on from the last",)),
    "a pod on a lost node keeps it Suspending, and says so": Row(
        STOPPED.trained("Suspending").with_job(suspended=True).with_pod(deleting(running(), -30)), [], "Suspending",
        "NodeLost", ("kubectl taint node node1",)),
    "while Starting": Row(
        STOPPED.seen("Starting").with_job().with_pod(unscheduled("no")), [SUSPEND], "Suspending"),
    "while Starting without a pod": Row(STOPPED.seen("Starting").with_job(), [SUSPEND], "Suspended"),
    "while a retry waits": Row(
        STOPPED.trained("Retrying", "Hung").with_job().with_pod(said("Hung", 74)), [SUSPEND], "Suspended"),
    "while waiting for earlier pods": Row(
        STOPPED.seen("Pending", "WaitingForPreviousPods", jobUid=None).with_pod(deleting(running())), [], "Suspending"),
    "and its Job is deleted by hand": Row(STOPPED.trained("Suspended"), [], "Suspended"),
    "whose resume makes another": Row(a_run().trained("Suspended"), [CREATE], "Starting"),
    "resume": Row(a_run().trained("Suspended").with_job(suspended=True), [RESUME], "Starting"),
    "resume within the grace: the Job waits for its old pod": Row(
        a_run().trained("Suspending").with_job(suspended=True).with_pod(deleting(running())), [RESUME], "Starting"),
    "and so does the state": Row(
        a_run().trained("Starting").with_job(began=-1).with_pod(deleting(running())), [], "Starting", "",
        ("r-trainer-1 saves and ends before the next one starts",)),
    "a failure of before the suspend is past": Row(
        a_run().trained("Starting").with_job(began=-1).with_pod(said("Hung", 74)), [], "Starting"),
    "the next pod after a resume": Row(
        a_run().trained("Starting").with_job(began=-20).with_pod(ended(75)).with_pod(
            waiting(), creationTimestamp=NOW.isoformat()), [], "Starting"),
    "which fails: that is a retry": Row(
        a_run().trained("Starting").with_job(began=-60).with_pod(said("Hung", 74)), [], "Retrying", "Hung"),
    "a Job that somebody else suspended is not ours to start": Row(
        a_run().trained().with_job(suspended=True, ours=False), [], "Queued", "QueuedForQuota",
        ("Job r-trainer is suspended, and not by spec.suspend", "kubectl patch job r-trainer -n n")),
    "its pod may still save": Row(
        a_run().trained().with_job(suspended=True, ours=False).with_pod(deleting(running())), [], "Suspending",
        "QueuedForQuota"),
    "nor is it ours to suspend": Row(
        STOPPED.trained("Queued").with_job(suspended=True, ours=False), [], "Suspended"),
    "a queue: the Job is made suspended": Row(
        QUEUED, [CREATE], "Queued", "QueuedForQuota", ("Kueue's queue team-a", "kubectl describe workloads -n n")),
    "and is Kueue's to start": Row(
        QUEUED.seen("Queued", "QueuedForQuota").with_job(suspended=True, ours=False, queue="team-a"), [], "Queued",
        "QueuedForQuota", ("team-a",)),
    "admitted": Row(
        QUEUED.seen("Queued").with_job(queue="team-a").with_pod(running()), [], "Running"),
    "suspended in a queue: the Job goes": Row(
        STOPPED.in_queue().trained().with_job(queue="team-a").with_pod(running()), [DELETE], "Suspending"),
    "also where it waits": Row(
        STOPPED.in_queue().seen("Queued").with_job(suspended=True, ours=False, queue="team-a"), [DELETE], "Suspended"),
    "also where Kueue put it into a queue": Row(
        STOPPED.trained().with_job(queue="default"), [DELETE], "Suspended"),
    "resume in a queue makes it again": Row(QUEUED.trained("Suspended"), [CREATE], "Queued", "QueuedForQuota"),
    "but not before its pod has ended": Row(
        QUEUED.trained("Suspending").with_pod(deleting(running())), [], "Pending", "WaitingForPreviousPods"),
    "a label that came while it was suspended: the Job is made for the queue": Row(
        QUEUED.trained("Suspended").with_job(suspended=True), [DELETE], "Pending", "", ("team-a",)),
    "and again where the operator died before it deleted": Row(
        QUEUED.trained("Pending").with_job(suspended=True), [DELETE], "Pending"),
    "a label that came while it ran waits for the next Job": Row(
        QUEUED.trained().with_job().with_pod(running()), [], "Running"),
}  # fmt: skip


@pytest.mark.parametrize("row", SUSPENDING.values(), ids=SUSPENDING)
def test_suspending(row: Row) -> None:
    check(row)


def test_a_queued_job_is_made_suspended_with_the_labels_of_the_run() -> None:
    labels = {"kueue.x-k8s.io/queue-name": "q", "kueue.x-k8s.io/priority-class": "low", "other": "x"}
    made = str(a_run().metadata(labels=labels).plan().actions)
    assert "'suspend': True" in made
    assert "'kueue.x-k8s.io/priority-class': 'low'" in made
    assert "'other'" not in made


def test_only_the_operators_own_suspend_is_marked_and_the_mark_goes_with_it() -> None:
    (stop,) = STOPPED.trained().with_job().plan().actions
    (go,) = a_run().trained("Suspended").with_job(suspended=True).plan().actions
    assert getattr(stop, "annotations", None) == {"finetune.dev/suspended": "true"}
    assert getattr(go, "annotations", None) == {"finetune.dev/suspended": None}


def test_a_pod_that_began_just_before_the_suspend_is_an_attempt() -> None:
    status = STOPPED.seen("Starting").with_job().with_pod(running()).plan().status
    assert status is not None
    assert (status.attempts, status.start_time is not None) == (1, True)


def test_a_job_made_just_before_the_operator_died_is_known_when_suspended() -> None:
    given = STOPPED.with_job()
    status = given.plan().status
    assert status is not None
    assert (status.job_name, status.job_uid, status.jobs, status.image) == ("r-trainer", "job", 1, "trainer:1")


def test_a_resumed_job_whose_controller_has_not_seen_it_has_no_failures_yet() -> None:
    given = a_run().trained("Starting").with_job(condition="Suspended").with_pod(said("Hung", 74))
    assert given.after(given.plan()).observed().run.status.state == "Starting"
