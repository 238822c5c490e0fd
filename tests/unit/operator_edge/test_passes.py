"""Whole passes against an API server that is a dictionary: what a run says, and when it is looked at again."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from finetune_operator.actions import Tell
from finetune_operator.api import Api, ApiError
from finetune_operator.apply import Applier
from finetune_operator.caches import Caches
from finetune_operator.cluster import job_path, run_path
from finetune_operator.model import JobView, PodView, RunKey
from finetune_operator.objects import Json
from finetune_operator.reconcile import Reconciler
from tests.unit.operator_edge.fake_api import FakeApi
from tests.unit.operator_plan.given import NOW, SETTINGS, Given, a_job, a_run, running

KEY = RunKey("n", "r")
PODS = "/api/v1/namespaces/n/pods"
WEBHOOK = "Internal error occurred: failed calling webhook mjob.kb.io"


class Server(FakeApi):
    """It lists pods, takes typed Jobs, and gives them the time at which they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.pods: list[Json] = []

    serialize = staticmethod(Api.serialize)

    async def get(self, path: str, *more: object) -> Json:
        return {"items": self.pods} if path == PODS else await super().get(path, *more)

    async def post(self, path: str, body: Json) -> Json:
        made = {"creationTimestamp": NOW.isoformat(), **body["metadata"]}
        return await super().post(path, {**body, "metadata": made})


class World:
    """An operator's passes over one run; watches tell nothing that a test does not."""

    def __init__(self, given: Given) -> None:
        self.server, self.caches, self.now = Server(), Caches(), NOW
        run = given.metadata(resourceVersion="0").run
        self.server.objects[run_path(KEY)] = run
        self.caches.put_run(run)
        self.applier = Applier(self.server.api, self.caches, lambda: True, lambda: self.now)
        self.reconciler = Reconciler(self.server.api, self.caches, self.applier, SETTINGS, lambda: self.now)

    def rest(self) -> datetime | None:
        """Pass after pass until none is wanted at once; when the next one is."""
        for _ in range(5):
            wake = asyncio.run(self.reconciler.reconcile(KEY))
            if wake is None or wake > self.now:
                return wake
        raise AssertionError("never at rest")

    def status(self) -> Json:
        status: Json = self.server.objects[run_path(KEY)].get("status", {})
        return status

    def answer(self, code: int, message: str, method: str) -> None:
        def refuse(asked: str, path: str) -> None:
            if asked == method and "/jobs" in path:
                raise ApiError(code, message)

        self.server.refuse = refuse

    def heal(self) -> None:
        self.server.refuse = lambda *_: None


def test_a_webhook_that_is_down_is_what_a_new_run_says_and_counts_as_waiting() -> None:
    world = World(a_run(lifecycle={"startDeadlineSeconds": 25}))
    world.answer(500, WEBHOOK, "POST")
    assert world.rest() == NOW + SETTINGS.look_again
    assert (world.status()["state"], world.status()["reason"]) == ("Pending", "JobRejected")
    assert WEBHOOK in world.status()["message"]
    assert "waitingSince" in world.status()
    world.now += timedelta(seconds=25)
    world.rest()
    assert (world.status()["state"], world.status()["reason"]) == ("Failed", "JobRejected")


def test_and_the_job_is_made_once_it_is_up() -> None:
    world = World(a_run())
    world.answer(500, WEBHOOK, "POST")
    world.rest()
    world.heal()
    world.now += SETTINGS.look_again
    world.rest()
    assert (world.status()["state"], world.status().get("reason", "")) == ("Starting", "")
    assert world.status()["jobs"] == 1


@pytest.mark.parametrize("spec", [{"suspend": True}, {"lifecycle": {"maxRetries": 9}}], ids=["suspend", "retries"])
def test_a_refused_change_is_said_and_the_status_goes_on(spec: dict[str, Any]) -> None:
    world = World(a_run(**spec).trained())
    pod = Given(a_run().run).with_pod(running()).pods[0]
    world.server.objects[job_path(KEY)], world.server.pods = a_job(), [pod]
    world.caches.put_job(KEY, JobView.from_object(a_job()))
    world.caches.put_pod(KEY, PodView.from_object(pod))
    world.answer(403, "no Job may be changed", "PATCH")
    assert world.rest() == NOW + SETTINGS.look_again
    assert (world.status()["state"], world.status()["reason"]) == ("Running", "JobRejected")
    assert "no Job may be changed" in world.status()["message"]


def test_a_job_that_is_there_after_all_is_decided_upon_at_once() -> None:
    """Its watch told of it before the write did: nothing else would nudge the run."""
    world = World(a_run().trained("Retrying", "BackingOff", jobUid="1"))
    there, get = a_job(condition="Failed"), world.server.get

    async def made_just_now(path: str, *more: object) -> Json:
        """After the fresh reading, and before the write."""
        if path == job_path(KEY) and path not in world.server.objects:
            world.server.objects[path] = there
            raise ApiError(404, "not found")
        return await get(path, *more)

    world.server.get = made_just_now  # type: ignore[method-assign]
    world.rest()
    assert (world.status()["state"], world.status()["jobUid"], world.status()["jobs"]) == ("Failed", "job", 2)


def test_a_pod_that_went_unwatched_holds_nothing_up_for_long() -> None:
    world = World(a_run())
    ghost = a_run().with_pod(running()).pods[0]
    world.caches.put_pod(KEY, PodView.from_object(ghost))
    look = world.rest()
    assert world.status()["reason"] == "WaitingForPreviousPods"
    assert look == NOW + SETTINGS.look_again
    world.now = look
    world.rest()
    assert world.status()["state"] == "Starting"


def test_a_run_that_is_gone_at_the_second_look_is_forgotten() -> None:
    world = World(a_run())
    run = world.caches.run(KEY)
    assert run is not None
    world.applier.owe(run, run.status, Tell("Normal", "Started", "made Job r-trainer"))
    del world.server.objects[run_path(KEY)]
    assert world.rest() is None
    asyncio.run(world.applier._tell(KEY))
    assert world.server.writes() == []
