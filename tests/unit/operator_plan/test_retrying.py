"""Between two attempts: what went wrong, and what the next one waits for."""

import pytest

from tests.unit.operator_plan.given import (
    CREATE,
    Row,
    a_run,
    check,
    deleting,
    disrupted,
    ended,
    running,
    said,
    uncounted,
    unscheduled,
    waiting,
)

AT_WORK = a_run().trained().with_job()
RETRYING = a_run().trained("Retrying", "StorageUnavailable", message="s3://b: refused").with_job()
RETRYING_LAST = RETRYING.with_job(failed=3)
UNCOUNTED = uncounted(ended(1, "boom"))
GAP = ("11 s", "twice as long each time", "10 min")
REFUSED = 'Error creating: pods "x" is forbidden: exceeded quota: gpus'
RETRIES: dict[str, Row] = {
    "a failed attempt says what went wrong": Row(
        AT_WORK.with_pod(said("StorageUnavailable", 69, "s3://b: refused")), [], "Retrying", "StorageUnavailable",
        ("s3://b: refused",)),
    "and goes on saying so while the next pod starts": Row(
        AT_WORK.with_pod(said("StorageUnavailable", 69, "s3://b: refused")).with_pod(waiting()),
        [], "Retrying", "StorageUnavailable"),
    "also when the failed pod is gone": Row(RETRYING, [], "Retrying", "StorageUnavailable", ("s3://b: refused",)),
    "a hung trainer": Row(AT_WORK.with_pod(said("Hung", 74)), [], "Retrying", "Hung"),
    "a trainer out of memory": Row(
        AT_WORK.with_pod(ended(137, reason="OOMKilled")), [], "Retrying", "OutOfMemory",
        ("spec.compute.resources.requests.memory",)),
    "an exit without a type": Row(
        AT_WORK.with_pod(ended(1, "boom")), [], "Retrying", "RetriesExhausted", ("boom",)),
    "a pod that was stopped and has saved": Row(AT_WORK.with_pod(ended(75)), [], "Retrying", "BackingOff", GAP),
    "the last attempt that is allowed, until its Job says so": Row(
        a_run().trained().with_job(failed=3).with_pod(UNCOUNTED), [], "Running"),
    "the same after another that failed": Row(
        RETRYING_LAST.with_pod(UNCOUNTED), [], "Retrying", "StorageUnavailable", ("s3://b: refused",)),
    "a Job that is about to fail, and has counted it": Row(
        a_run().trained().with_job(failed=4, condition="FailureTarget").with_pod(ended(1, "boom")), [], "Running"),
    "a last attempt that was disrupted is not the last": Row(
        a_run().trained().with_job(failed=3).with_pod(uncounted(ended(75))), [], "Retrying", "BackingOff"),
    "a pod that is gone": Row(AT_WORK, [], "Retrying", "BackingOff", GAP),
    "a pod that was deleted and saves": Row(
        AT_WORK.with_pod(deleting(running())), [], "Retrying", "BackingOff", ("r-trainer-1 was deleted",)),
    "a drained node": Row(
        AT_WORK.with_pod(deleting(running(disrupted("EvictionByEvictionAPI", "Eviction API: evicting")))),
        [], "Retrying", "BackingOff", ("Eviction API: evicting", "last checkpoint")),
    "a node out of memory": Row(
        AT_WORK.with_pod(ended(137, "", "Error", disrupted("TerminationByKubelet", "The node was low on resource"))),
        [], "Retrying", "BackingOff", ("low on resource",)),
    "a pod that its node refused": Row(
        AT_WORK.with_pod({"spec": {"nodeName": "node1"}, "status": {
            "phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no healthy devices"}}),
        [], "Retrying", "BackingOff", ("node1", "UnexpectedAdmissionError: no healthy devices", *GAP)),
    "a pod of higher priority": Row(
        AT_WORK.with_pod(deleting(running(disrupted("PreemptionByScheduler")))), [], "Retrying", "Preempted",
        ("r-trainer-1", "spec.compute.priorityClassName")),
    "a tainted node": Row(
        AT_WORK.with_pod(deleting(running(disrupted("DeletionByTaintManager")))), [], "Retrying", "NodeLost",
        ("node1", "kubectl describe node node1")),
    "a node that is gone": Row(
        AT_WORK.with_pod(ended(137, "", "Error", disrupted("DeletionByPodGC"))), [], "Retrying", "NodeLost"),
    "a pod past its grace on a node that does not answer": Row(
        AT_WORK.with_pod(deleting(running(disrupted("DeletionByTaintManager")), -30)), [], "Retrying", "NodeLost",
        ("node1", "r-trainer-1", "kubectl taint node node1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")),
    "within its grace it is not lost yet": Row(
        AT_WORK.with_pod(deleting(running(), -29)), [], "Retrying", "BackingOff"),
    "the next pod finds no node": Row(
        AT_WORK.with_pod(ended(75)).with_pod(unscheduled("0/1 nodes are available: 1 Insufficient cpu.")),
        [], "Retrying", "Unschedulable", ("spec.compute.resources.requests.cpu",)),
    "the next pod is refused": Row(
        AT_WORK.with_pod(ended(75)).with_event("job", "FailedCreate", REFUSED, -5), [], "Retrying", "PodRejected"),
    "but not by what was told before the last one": Row(
        AT_WORK.with_pod(ended(75)).with_event("job", "FailedCreate", REFUSED, -45), [], "Retrying", "BackingOff"),
    "nor where that one is gone": Row(
        AT_WORK.with_event("job", "FailedCreate", REFUSED, -45), [], "Retrying", "BackingOff"),
    "what held the next pod back no longer does": Row(
        a_run().trained("Retrying", "Unschedulable", message="no node").with_job().with_pod(waiting()),
        [], "Retrying", "BackingOff"),
    "the next attempt runs": Row(
        RETRYING.with_pod(said("StorageUnavailable", 69)).with_pod(running(since=-1)), [], "Running"),
    "an attempt that failed before anybody saw it run": Row(
        a_run().seen("Starting").with_job().with_pod(said("TrainerError", 70)), [], "Retrying", "TrainerError"),
    "a pod that is preempted before it runs": Row(
        a_run().seen("Starting").with_job().with_pod(deleting(waiting("x", "", disrupted("PreemptionByScheduler")))),
        [], "Retrying", "Preempted"),
    "a pod that is deleted before it runs is no attempt": Row(
        a_run().seen("Starting").with_job().with_pod(deleting(waiting())), [], "Starting", "", ("r-trainer-1",)),
    "a final code is not a retry: the Job is about to fail": Row(
        AT_WORK.with_pod(said("DataInvalid", 65)), [], "Running"),
    "a final reason with a code that is retried": Row(
        AT_WORK.with_pod(said("DataInvalid", 1)), [], "Retrying", "BackingOff", ("why",)),
    "a Job that vanished is made again": Row(
        a_run().trained(), [CREATE], "Retrying", "BackingOff", ("Job r-trainer was deleted before its end",)),
    "but not before its pod has saved": Row(
        a_run().trained().with_pod(deleting(running())), [], "Retrying", "WaitingForPreviousPods"),
    "more retries take effect at once": Row(
        a_run(lifecycle={"maxRetries": 5}).trained().with_job().with_pod(running()),
        ["patch Job/r-trainer {'backoffLimit': 5}"], "Running"),
}  # fmt: skip


@pytest.mark.parametrize("row", RETRIES.values(), ids=RETRIES)
def test_retrying(row: Row) -> None:
    check(row)


def test_a_lost_node_is_looked_for_in_time() -> None:
    given = AT_WORK.with_pod(deleting(running(), 20))
    wake = given.plan().wake_at
    assert wake is not None
    lost = given.plan(50).status
    assert lost is not None
    assert lost.reason == "NodeLost"


def test_a_job_that_is_made_again_has_the_image_of_the_first() -> None:
    decided = a_run(compute={"image": "mine:2"}).trained(image="mine:1").plan()
    assert "'image': 'mine:1'" in str(decided.actions)
    assert decided.status is not None
    assert (decided.status.image, decided.status.jobs, decided.status.attempts) == ("mine:1", 2, 1)


def test_a_disruption_is_no_failure_in_the_jobs_policy() -> None:
    """Two budgets: failures count toward maxRetries, disruptions and saved stops never do."""
    made = str(a_run(lifecycle={"maxRetries": 7}).plan().actions)
    assert "'backoff_limit': 7" in made
    assert made.count("'action': 'Ignore'") == 2
    assert "'pod_replacement_policy': 'Failed'" in made
