"""The API server refuses, stumbles, forgets and restarts: the operator goes on, and the outcome is the same."""

import random
from pathlib import Path

import pytest
import requests

from finetune_sdk.contract import Termination
from tests.cluster.parts import Parts
from tests.on_cluster.faults.api import Json, until
from tests.on_cluster.faults.proxy import Answer, Request
from tests.on_cluster.faults.test_killed import assert_it_went_well
from tests.on_cluster.faults.world import CONVERGES_SECONDS, NAME, Kubelet, World, ended

ANSWERS = {
    "409": Answer(409),
    "429": Answer(429, headers=(("Retry-After", "1"),)),
    "500": Answer(500),
    "503": Answer(503),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_fifth_of_the_requests_fails(world: World, answer: Answer) -> None:
    """But not the lease's: losing it is another test. Of 409, conflicts: an object that is made meets none."""
    draw = random.Random(0)  # noqa: S311 - a schedule

    def stumble(request: Request) -> Answer | None:
        if "/leases" in request.path:
            return None
        if answer.status == 409 and request.method not in ("PATCH", "DELETE"):
            return None
        return answer if draw.random() < 0.2 else None

    world.start()
    until(lambda: '"leading"' in world.log, CONVERGES_SECONDS, lambda: world.log)
    world.proxy.before = stumble
    with Kubelet(world):
        world.apply()
        assert_it_went_well(world, refusals=answer.status >= 500)


def test_watches_that_are_gone(world: World) -> None:
    """A Job and a run that go while the watches are cut, whose versions are then too old."""
    world.start()
    with Kubelet(world) as kubelet:
        kubelet.ends = False
        world.apply()
        world.apply("other")
        world.until_state("Running")
        world.until_state("Running", "other")
        uid = world.jobs()[0]["metadata"]["uid"]
        world.proxy.before = lambda request: Answer(410) if request.watches else None
        world.proxy.cut_watches()
        world.plane.call("DELETE", world.path("/apis/finetune.dev/v1alpha1", "finetuneruns", "other"))
        world.plane.call(
            "DELETE", world.path("/apis/batch/v1", "jobs", f"{NAME}-trainer"), {"propagationPolicy": "Background"}
        )
        until(lambda: all(job["metadata"]["uid"] != uid for job in world.jobs()), CONVERGES_SECONDS, world.jobs)
        world.proxy.before = lambda _: None
        kubelet.ends = True
        status = world.until_state("Succeeded")
        assert status["jobs"] == 2


def test_the_api_server_restarts(world: World, parts: Parts) -> None:
    """While a run trains, and again nothing is told twice."""
    world.start()
    with Kubelet(world) as kubelet:
        kubelet.ends = False
        world.apply()
        world.until_state("Running")
        pid = parts.pid("kube-apiserver")
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
        parts.kill("kube-apiserver")
        parts.start("kube-apiserver", *command)
        until(lambda: answers(world), CONVERGES_SECONDS, parts.told)
        kubelet.ends = True
        if world.operators[0].poll() is not None:  # it could not renew its lease: its Deployment starts another
            world.start_anew()
        assert_it_went_well(world)


def answers(world: World) -> bool:
    """Whether the API server does."""
    try:
        return bool(world.status())
    except requests.RequestException:
        return False


def test_a_refused_job_says_so_and_is_tried_again(world: World) -> None:
    refusal = Answer(403, "admission webhook denied the request: ask the platform team")
    creates = "/apis/batch/v1"
    world.proxy.before = lambda request: refusal if request.writes and creates in request.path else None
    world.start()
    with Kubelet(world):
        world.apply()
        until(
            lambda: world.status()["reason"] == "JobRejected",
            CONVERGES_SECONDS,
            lambda: f"{world.status()}\n{world.log[-3000:]}",
        )
        assert "ask the platform team" in world.status()["message"]
        world.proxy.before = lambda _: None
        status = world.until_state("Succeeded")
        assert status["jobs"] == 1


def test_a_deleted_job_is_made_again_once(world: World) -> None:
    """K19."""
    world.start()
    with Kubelet(world) as kubelet:
        kubelet.ends = False
        world.apply()
        image = world.until_state("Running")["image"]
        job = world.jobs()[0]
        path = world.path("/apis/batch/v1", "jobs", job["metadata"]["name"])
        world.plane.call("DELETE", path, {"propagationPolicy": "Background"})
        until(
            lambda: [one["metadata"]["uid"] for one in world.jobs()] not in ([], [job["metadata"]["uid"]]),
            CONVERGES_SECONDS,
            lambda: world.log[-3000:],
        )
        kubelet.ends = True
        status = world.until_state("Succeeded")
        assert (status["jobs"], status["image"]) == (2, image)
        assert len(world.jobs()) == 1


def test_a_finished_run_outlives_its_job(world: World) -> None:
    """K18."""
    world.start()
    with Kubelet(world):
        world.apply()
        finished = world.until_state("Succeeded")
        path = world.path("/apis/batch/v1", "jobs", f"{NAME}-trainer")
        world.plane.call("DELETE", path, {"propagationPolicy": "Background"})
        until(lambda: world.plane.gone(path), CONVERGES_SECONDS, world.jobs)
        world.change(suspend=True)
        until(lambda: world.status()["observedGeneration"] == 2, CONVERGES_SECONDS, world.status)
        world.change(suspend=False)
        until(lambda: world.status()["observedGeneration"] == 3, CONVERGES_SECONDS, world.status)
        assert of_first_generation(world.status()) == finished
        assert world.jobs() == []


def of_first_generation(status: Json) -> Json:
    """The status as if it spoke of the run's first generation, its conditions too."""
    conditions = [{**condition, "observedGeneration": 1} for condition in status["conditions"]]
    return {**status, "observedGeneration": 1, "conditions": conditions}


def test_a_finished_runs_ttl_is_its_jobs(world: World) -> None:
    """K18: the run stays when its Job goes by itself."""
    world.start()
    with Kubelet(world):
        world.apply(lifecycle={"ttlSecondsAfterFinished": 1})
        finished = world.until_state("Succeeded")
        until(lambda: not world.jobs(), CONVERGES_SECONDS, world.jobs)
        assert world.status() == finished


def test_a_failure_is_told_in_its_words(world: World) -> None:
    world.start()
    with Kubelet(world) as kubelet:
        kubelet.ends = False
        world.apply()
        world.until_state("Running")
        told = Termination(reason="DataInvalid", message="captions.csv has no column `caption`", exit_code=65)
        (pod,) = world.pods()
        path = world.path("/api/v1", "pods", pod["metadata"]["name"])
        world.plane.call("PATCH", f"{path}/status", {"status": ended(told)})
        status = world.until_state("Failed")
        assert status["reason"] == "DataInvalid"
        assert "no column `caption`" in status["message"]
        until(lambda: world.told()["DataInvalid"] == 1, CONVERGES_SECONDS, world.told)
