"""What is compared with the API server, while watches tell of it too, and where a namespace refuses."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from finetune_operator.api import ApiError
from finetune_operator.caches import Caches
from finetune_operator.cluster import run_path
from finetune_operator.handlers import Handlers
from finetune_operator.model import JobView, PodView, RunKey
from finetune_operator.namespaces import Namespaces
from finetune_operator.resync import Resync
from tests.unit.operator_edge.documents import JOBS, PODS, RUNS, empty, job, listed, place, pod, run
from tests.unit.operator_edge.fake_api import FakeApi

KEY, OTHER = RunKey("team-a", "r"), RunKey("team-b", "r")


class World:
    """What is compared: a server, the caches, and who was nudged."""

    def __init__(self, *namespaces: str) -> None:
        self.server, self.caches, self.nudged = FakeApi(), Caches(), list[RunKey]()
        self.namespaces = Namespaces(self.server.api, namespaces)
        self.resync = Resync(self.server.api, self.caches, self.namespaces, self.nudged.append)
        self.handlers = Handlers(self.caches, self.nudged.append, self.resync.ask)
        empty(self.server, *(namespaces or ("",)))

    def compare(self) -> list[RunKey]:
        """Who is nudged by it."""
        self.nudged.clear()
        asyncio.run(self.resync.compare())
        return list(self.nudged)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def two() -> World:
    """With a run, its Job and its pod in each of two namespaces."""
    world = World("team-a", "team-b")
    for key in (KEY, OTHER):
        uid = key.namespace
        listed(world.server, RUNS, key.namespace, run(key, uid, 1))
        listed(world.server, JOBS, key.namespace, job(key, f"{uid}-job", uid))
        listed(world.server, PODS, key.namespace, pod(key, f"{uid}-pod", uid))
    return world


def refusing(part: str, status: int = 403) -> Callable[[str, str], None]:
    def refuse(method: str, path: str) -> None:
        if part in path:
            raise ApiError(status, f"{path} refused")

    return refuse


def test_news_of_a_finished_run_that_no_watch_told_of_yet_is_a_nudge(world: World) -> None:
    """A raised lifecycle.restart, say: the watch's own event is none any more."""
    world.caches.put_run(run(KEY, "a", 1, "Failed"))
    newer = run(KEY, "a", 2, "Failed")
    listed(world.server, RUNS, "", newer)
    world.server.objects[run_path(KEY)] = newer
    assert world.compare() == [KEY]
    world.nudged.clear()
    world.handlers.run_changed(newer, "MODIFIED")
    assert world.nudged == []
    assert world.compare() == [], "and a finished run that is as it was is left alone"


def test_a_run_that_is_gone_is_dropped_and_nudged(world: World) -> None:
    world.caches.put_run(run(KEY, "a", 1, "Failed"))
    assert world.compare() == [KEY]
    assert world.caches.run(KEY) is None


def test_a_namesake_made_while_the_list_is_on_its_way_stays(world: World) -> None:
    world.caches.put_run(run(KEY, "a", 1))

    def made(method: str, path: str) -> None:
        if path == place(RUNS):
            world.handlers.run_changed(run(KEY, "b", 3), "ADDED")

    world.server.refuse = made
    world.compare()
    assert world.caches.uid(KEY) == "b"


def test_everything_is_read_but_of_a_namespace_that_refuses(two: World) -> None:
    two.server.refuse = refusing("/team-b/")
    asyncio.run(two.resync.fill())
    assert list(two.caches.known_runs()) == two.nudged == [KEY]
    assert two.caches.job(KEY) == JobView.from_object(job(KEY, "team-a-job", "team-a"))
    assert two.caches.pods(KEY) == (PodView.from_object(pod(KEY, "team-a-pod", "team-a")),)


def test_a_copy_of_a_runs_job_under_another_name_is_not_read_for_it(two: World) -> None:
    own, copied = job(KEY, "own", "team-a"), job(KEY, "copy", "team-a")
    copied["metadata"]["name"] = "debug"
    listed(two.server, JOBS, "team-a", own, copied)
    asyncio.run(two.resync.fill())
    assert two.caches.job(KEY) == JobView.from_object(own)


@pytest.mark.parametrize("refused", ["/team-b/", "/team-b/finetuneruns", "/team-b/jobs", "/team-b/pods"])
def test_a_namespace_that_refuses_keeps_what_is_known_and_the_others_are_compared(two: World, refused: str) -> None:
    asyncio.run(two.resync.fill())
    two.server.refuse = refusing(refused)
    for kind in (RUNS, JOBS, PODS):
        listed(two.server, kind, "team-a")
    assert KEY in two.compare()
    assert list(two.caches.known_runs()) == [OTHER]
    assert (two.caches.job(KEY), two.caches.pods(KEY)) == (None, ())
    assert two.caches.job(OTHER) is not None
    assert len(two.caches.pods(OTHER)) == 1


def test_a_refusal_is_told_once_and_so_is_its_end(two: World) -> None:
    def told(logs: Any) -> list[str]:
        return [entry["event"] for entry in logs]

    with capture_logs() as logs:
        two.server.refuse = refusing("/team-b/")
        two.compare()
        two.compare()
        two.server.refuse = lambda *_: None
        two.compare()
        two.compare()
    assert told(logs) == ["namespace-refused", "namespace-answers"]


def test_a_server_that_is_away_is_no_refusal(two: World) -> None:
    two.server.refuse = refusing("/team-b/", 503)
    with pytest.raises(ApiError):
        two.compare()
    with pytest.raises(ApiError):
        asyncio.run(two.resync.fill())


def test_where_all_namespaces_are_looked_after_a_refusal_is_an_error(world: World) -> None:
    world.server.refuse = refusing("/pods")
    with pytest.raises(ApiError):
        world.compare()
