"""A real run is killed, deleted, evicted, suspended, loses its Job: it goes on to the same weights."""

import json
import signal
from collections.abc import Callable

import pytest

from tests.on_cluster.conftest import Json, Place
from tests.on_cluster.node import host
from tests.on_cluster.node.records import PodRecord, TurnRecord
from tests.on_cluster.node.scenario import (
    SLOW,
    change,
    finished,
    job_failures,
    living_pods,
    model_digest,
    report,
    running,
    start,
    until_checkpoint,
)

SUPERVISOR, WORKER = "supervisor.main", "supervisor.worker"


def second_step(place: Place, name: str) -> int:
    """The step at which the second attempt is met first."""
    found: Json = {}

    def trains(status: Json) -> bool:
        found.update(report(place, name) if status["attempts"] == 2 and status["state"] == "Running" else {})
        return "step" in found.get("progress", {}) or finished(status)

    place.until(name, trains, 300)
    step: int = found["progress"]["step"]
    return step


@pytest.mark.parametrize("part", [SUPERVISOR, WORKER])
def test_a_killed_trainer_is_retried_and_ends_with_the_same_weights(
    place: Place, pods: PodRecord, turns: TurnRecord, undisturbed: Callable[[], str], part: str
) -> None:
    start(place, "killed", **SLOW)
    saved = until_checkpoint(place, "killed")
    host.send(living_pods(place, "killed")[0], signal.SIGKILL, part)
    place.until("killed", lambda status: status["state"] == "Retrying")
    assert second_step(place, "killed") >= saved
    status = place.until("killed", finished, 300)
    assert (status["state"], status["attempts"]) == ("Succeeded", 2), place.story()
    assert job_failures(place, "killed") == 1
    assert [state for state, _ in turns.of_run("killed")].count("Retrying") >= 1
    assert pods.at_once() == 1
    assert model_digest(place, "killed") == undisturbed()


def test_a_deleted_pod_is_no_failure(place: Place, pods: PodRecord, undisturbed: Callable[[], str]) -> None:
    start(place, "deleted", **SLOW)
    saved = until_checkpoint(place, "deleted")
    pod = living_pods(place, "deleted")[0]["metadata"]["name"]
    place.kube("delete", "pod", pod, "-n", place.namespace, "--wait=false")
    assert second_step(place, "deleted") >= saved
    status = place.until("deleted", finished, 300)
    assert (status["state"], status["attempts"]) == ("Succeeded", 2), place.story()
    assert job_failures(place, "deleted") == 0
    assert pods.at_once() == 1
    assert model_digest(place, "deleted") == undisturbed()


def test_an_eviction_of_a_trainer_that_does_not_hear_is_no_failure(
    place: Place, pods: PodRecord, undisturbed: Callable[[], str]
) -> None:
    start(place, "evicted", compute={"terminationGracePeriodSeconds": 2}, **SLOW)
    saved = until_checkpoint(place, "evicted")
    (pod,) = living_pods(place, "evicted")
    host.send(pod, signal.SIGSTOP, "supervisor.")  # neither hears SIGTERM now
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{place.namespace}/pods/{name}/eviction"
    place.kube("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    assert second_step(place, "evicted") >= saved
    status = place.until("evicted", finished, 300)
    assert (status["state"], status["attempts"]) == ("Succeeded", 2), place.story()
    assert job_failures(place, "evicted") == 0
    assert pods.at_once() == 1
    assert model_digest(place, "evicted") == undisturbed()


def test_a_suspended_run_leaves_no_pod_and_a_resume_within_the_grace_never_makes_two(
    place: Place, pods: PodRecord, turns: TurnRecord, undisturbed: Callable[[], str]
) -> None:
    start(place, "paused", compute={"terminationGracePeriodSeconds": 8}, **SLOW)
    until_checkpoint(place, "paused")
    host.send(living_pods(place, "paused")[0], signal.SIGSTOP, "supervisor.")  # so that the grace is used up
    change(place, "paused", suspend=True)
    place.until("paused", lambda status: status["state"] == "Suspending")
    change(place, "paused", suspend=False)
    place.until("paused", lambda status: running(status) and status["attempts"] == 2)
    change(place, "paused", suspend=True)
    place.until("paused", lambda status: status["state"] == "Suspended")
    assert living_pods(place, "paused") == []
    change(place, "paused", suspend=False)
    status = place.until("paused", finished, 300)
    assert (status["state"], status["attempts"]) == ("Succeeded", 3), place.story()
    states = [state for state, _ in turns.of_run("paused")]
    assert states.index("Suspending") < states.index("Suspended")
    assert (pods.count(), pods.at_once()) == (3, 1)
    assert job_failures(place, "paused") == 0
    assert model_digest(place, "paused") == undisturbed()


def test_a_job_that_is_deleted_is_made_again_once_with_the_same_image(
    place: Place, pods: PodRecord, undisturbed: Callable[[], str]
) -> None:
    start(place, "jobless", **SLOW)
    saved = until_checkpoint(place, "jobless")
    before = place.kube.get("job", "jobless-trainer", place.namespace)
    place.kube("delete", "job", "jobless-trainer", "-n", place.namespace, "--wait=false")
    assert second_step(place, "jobless") >= saved
    after = place.kube.get("job", "jobless-trainer", place.namespace)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    images = [job["spec"]["template"]["spec"]["containers"][0]["image"] for job in (before, after)]
    assert images[0] == images[1]
    status = place.until("jobless", finished, 300)
    assert (status["state"], status["attempts"], status["jobs"]) == ("Succeeded", 2, 2), place.story()
    assert (pods.count(), pods.at_once()) == (2, 1)
    assert model_digest(place, "jobless") == undisturbed()
