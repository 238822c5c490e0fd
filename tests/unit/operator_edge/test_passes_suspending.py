"""Whole passes over a run that is to stop: pods that end unwatched hold nothing up, nor is their node called lost."""

from datetime import timedelta

import pytest

from finetune_operator.cluster import job_path
from finetune_operator.model import JobView, PodView
from finetune_operator.objects import Json
from tests.unit.operator_edge.test_passes import KEY, World
from tests.unit.operator_plan.given import NOW, SETTINGS, Given, a_job, a_run, deleting, running

STOPPING = a_run(suspend=True).trained("Suspending")
POD = a_run().with_pod(running()).pods[0]


class Stopping(World):
    """A run whose Job is told to stop, and a pod of it that the watch told of."""

    def __init__(self, given: Given = STOPPING, pod: Json | None = POD, *, suspended: bool = True) -> None:
        super().__init__(given)
        job = a_job(suspended=suspended)
        self.server.objects[job_path(KEY)] = job
        self.caches.put_job(KEY, JobView.from_object(job))
        if pod is not None:
            self.told(pod)

    def told(self, pod: Json) -> None:
        self.caches.put_pod(KEY, PodView.from_object(pod))

    def readings(self) -> int:
        """How often all that belongs to the run was read, the Job once each time."""
        return self.server.calls.count(("GET", job_path(KEY)))


@pytest.mark.parametrize(
    "ghost", [POD, deleting(POD, -60)], ids=["which was not asked to end yet", "which is past its grace"]
)
def test_a_pod_that_went_unwatched_keeps_no_run_suspending(ghost: Json) -> None:
    world = Stopping(pod=ghost)
    world.rest()
    assert (world.status()["state"], world.status().get("reason", "")) == ("Suspended", "")


def test_nor_is_its_node_called_lost() -> None:
    world = Stopping(pod=deleting(POD, 30))
    grace_is_over = NOW + timedelta(seconds=30) + SETTINGS.lost_after
    assert world.rest() == grace_is_over
    world.now = grace_is_over
    world.rest()
    assert (world.status()["state"], world.status().get("reason", "")) == ("Suspended", "")


def test_a_run_at_work_on_a_node_that_is_back_is_not_called_lost() -> None:
    world = Stopping(a_run().trained(), deleting(POD, -60), suspended=False)
    world.server.pods = [POD]
    world.rest()
    assert (world.status()["state"], world.status().get("reason", "")) == ("Running", "")


def test_a_pod_that_no_watch_told_of_is_waited_for() -> None:
    world = Stopping(pod=None)
    world.server.pods = [POD]
    assert world.rest() == NOW + SETTINGS.look_again
    assert world.status()["state"] == "Suspending"


def test_a_pod_on_a_lost_node_is_looked_at_again() -> None:
    world = Stopping(pod=deleting(POD, -60))
    world.server.pods = [deleting(POD, -60)]
    assert world.rest() == NOW + SETTINGS.look_again
    assert world.status()["reason"] == "NodeLost"
    world.server.pods, world.now = [], NOW + SETTINGS.look_again
    world.rest()
    assert world.status()["state"] == "Suspended"


def test_a_suspend_that_is_watched_is_read_as_it_begins_and_as_it_is_over() -> None:
    world = Stopping(a_run(suspend=True).trained(), suspended=False)
    world.server.pods = [POD]
    assert world.rest() == NOW + SETTINGS.look_again
    assert (world.status()["state"], world.readings()) == ("Suspending", 1)
    world.told(deleting(POD, 30))
    world.rest()
    assert (world.status()["state"], world.readings()) == ("Suspending", 1)
    world.server.pods = []
    world.caches.put_pods(KEY, ())
    world.rest()
    assert (world.status()["state"], world.readings()) == ("Suspended", 2)
