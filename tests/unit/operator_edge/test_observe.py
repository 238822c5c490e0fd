"""Fresh reads, while a watch tells of the same objects: the older answer does not replace the newer one."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from finetune_operator.caches import Caches
from finetune_operator.cluster import job_path, run_path
from finetune_operator.handlers import Handlers
from finetune_operator.model import JobView, PodView, Rejection, RunKey
from finetune_operator.objects import Json
from finetune_operator.observe import observe, refresh
from tests.unit.operator_edge.documents import PODS, job, listed, place, pod, run
from tests.unit.operator_edge.fake_api import FakeApi

KEY = RunKey("team", "r")
ALONE = RunKey("team", "another")


class World:
    """A run with its Job and its pod, known and as they are."""

    def __init__(self) -> None:
        self.caches = Caches()
        self.handlers = Handlers(self.caches, lambda _: None, lambda: None)
        self.server = FakeApi()
        self.server.objects[run_path(KEY)] = run(KEY, "a", 1)
        self.server.objects[job_path(KEY)] = job(KEY, "job", "a")
        listed(self.server, PODS, "team", pod(KEY, "pod", "a"))
        self.refresh()

    def refresh(self) -> None:
        asyncio.run(refresh(self.server.api, self.caches, KEY))

    def meanwhile(self, path: str, tell: Callable[[], object], then: Callable[[], object]) -> None:
        """During the first read of `path` a watch tells of what later reads see."""
        asked: list[str] = []

        def told(method: str, at: str) -> None:
            if at != path:
                return
            asked.append(at)
            (tell if len(asked) == 1 else then)()

        self.server.refuse = told
        self.refresh()


@pytest.fixture
def world() -> World:
    return World()


def test_all_is_brought_up_to_date(world: World) -> None:
    world.server.objects[run_path(KEY)] = run(KEY, "a", 2, "Running")
    world.server.objects[job_path(KEY)] = job(KEY, "job", "a", active=1)
    listed(world.server, PODS, "team")
    world.refresh()
    assert (world.caches.version(KEY), world.caches.state(KEY)) == ("2", "Running")
    assert world.caches.job(KEY) == JobView.from_object(job(KEY, "job", "a", active=1))
    assert world.caches.pods(KEY) == ()


def test_what_is_gone_is_dropped(world: World) -> None:
    del world.server.objects[run_path(KEY)], world.server.objects[job_path(KEY)]
    world.refresh()
    assert (world.caches.run(KEY), world.caches.job(KEY)) == (None, None)


def test_a_job_that_changed_meanwhile_stays_as_the_watch_told(world: World) -> None:
    newer = job(KEY, "job", "a", active=1)
    world.meanwhile(
        job_path(KEY),
        lambda: world.handlers.job_changed(newer, "MODIFIED"),
        lambda: world.server.objects.update({job_path(KEY): newer}),
    )
    assert world.caches.job(KEY) == JobView.from_object(newer)


def test_a_job_that_went_meanwhile_does_not_come_back(world: World) -> None:
    world.meanwhile(
        job_path(KEY),
        lambda: world.handlers.job_changed(job(KEY, "job", "a"), "DELETED"),
        lambda: world.server.objects.pop(job_path(KEY), None),
    )
    assert world.caches.job(KEY) is None


def pod_told(world: World, kind: str, *left: Json) -> None:
    changed = pod(KEY, "pod", "a", "Failed")
    world.meanwhile(
        place(PODS, "team"),
        lambda: world.handlers.pod_changed(changed, kind),
        lambda: listed(world.server, PODS, "team", *left),
    )


def test_pods_that_changed_meanwhile_stay_as_the_watch_told(world: World) -> None:
    changed = pod(KEY, "pod", "a", "Failed")
    pod_told(world, "MODIFIED", changed)
    assert world.caches.pods(KEY) == (PodView.from_object(changed),)


def test_pods_that_went_meanwhile_do_not_come_back(world: World) -> None:
    pod_told(world, "DELETED")
    assert world.caches.pods(KEY) == ()


def test_a_run_that_went_meanwhile_does_not_come_back(world: World) -> None:
    world.meanwhile(
        run_path(KEY),
        lambda: world.handlers.run_changed(run(KEY, "a", 1), "DELETED"),
        lambda: world.server.objects.pop(run_path(KEY), None),
    )
    assert world.caches.run(KEY) is None


def test_a_namesake_made_meanwhile_is_not_dropped_with_the_run(world: World) -> None:
    del world.server.objects[run_path(KEY)]
    namesake = run(KEY, "b", 3)

    def made() -> None:
        world.handlers.run_changed(namesake, "ADDED")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.server, "get", answering_none_first(world, made, namesake))
        world.refresh()
    assert world.caches.uid(KEY) == "b"


def answering_none_first(world: World, made: Callable[[], None], namesake: Json) -> Callable[..., object]:
    """The run is gone for the first read, whose answer is still on its way when the watch tells of the namesake."""
    get = world.server.get

    async def answer(path: str, *rest: object) -> Json:
        try:
            return await get(path, *rest)
        finally:
            if path == run_path(KEY) and path not in world.server.objects:
                world.server.objects[path] = namesake
                made()

    return answer


def test_a_refusal_kept_after_the_run_went_is_forgotten(world: World) -> None:
    world.caches.rejections[ALONE] = Rejection(403, "refused", datetime(2026, 1, 1, tzinfo=UTC))
    assert asyncio.run(observe(world.server.api, world.caches, ALONE, fresh=False)) is None
    assert world.caches.rejections == {}
