"""Answers to writes, while a watch tells of the same object: the older of the two does not replace the newer."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.actions import PatchJob, Plan
from finetune_operator.cluster import job_path
from finetune_operator.handlers import Handlers
from finetune_operator.model import JobView
from finetune_operator.objects import Json
from tests.unit.operator_edge.documents import job
from tests.unit.operator_edge.test_apply import KEY, Edge

LABELLED = {"namespace": "team", "labels": {"finetune.dev/run": "r"}}
STOP = Plan((PatchJob("r-trainer", "job", {"suspend": True}),))


class Watched(Edge):
    """An operator whose watch is quicker than the answers that it waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers = Handlers(self.caches, lambda _: None, lambda: None)

    def has_job(self) -> None:
        made = self.server._stored(job_path(KEY), job(KEY, "job", "run"))
        self.caches.put_job(KEY, JobView.from_object(made))

    def before_the_answer(self, method: str, tell: Callable[[Json], object]) -> None:
        """A watch tells of what has been written, or read, before the answer comes."""
        ask = getattr(self.server, method)

        async def answer(path: str, *rest: Any) -> Json:
            answered: Json = await ask(path, *rest)
            if path.endswith(("/jobs", "/r-trainer", "/status")):
                tell(answered)
            return answered

        setattr(self.server, method, answer)

    def at_work(self, answered: Json) -> None:
        """Its controller has seen it meanwhile."""
        newer = {**answered["metadata"], **LABELLED, "resourceVersion": "100"}
        self.handlers.job_changed({**answered, "metadata": newer, "status": {"active": 1}}, "MODIFIED")

    def gone(self, answered: Json) -> None:
        self.handlers.job_changed({**answered, "metadata": {**answered["metadata"], **LABELLED}}, "DELETED")

    def active(self) -> int:
        known = self.caches.job(KEY)
        assert known is not None
        return known.active


@pytest.fixture
def edge() -> Watched:
    return Watched()


def test_a_job_that_was_made_is_kept_as_the_watch_told(edge: Watched) -> None:
    edge.before_the_answer("post", edge.at_work)
    assert edge.apply(edge.starting())
    assert edge.active() == 1


def test_so_is_one_that_was_changed(edge: Watched) -> None:
    edge.has_job()
    edge.before_the_answer("patch", edge.at_work)
    assert edge.apply(STOP)
    assert edge.active() == 1


def test_one_that_was_changed_and_went_does_not_come_back(edge: Watched) -> None:
    edge.has_job()
    edge.before_the_answer("patch", edge.gone)
    assert edge.apply(STOP)
    assert edge.caches.job(KEY) is None


def test_nor_does_a_run_that_went_while_its_status_was_written(edge: Watched) -> None:
    """Nobody would tell of its end a second time, and it would count as one that is there."""
    edge.before_the_answer("patch", lambda answered: edge.handlers.run_changed(answered, "DELETED"))
    assert edge.apply(edge.starting())
    assert edge.caches.known_runs() == {}


def test_one_that_was_there_already_is_kept_as_the_watch_told(edge: Watched) -> None:
    edge.has_job()
    edge.before_the_answer("get", edge.at_work)
    assert not edge.apply(edge.starting())
    assert edge.active() == 1


def test_a_watch_that_tells_of_an_older_one_is_not_believed(edge: Watched) -> None:
    edge.has_job()
    edge.apply(STOP)
    before = job(KEY, "job", "run")
    edge.handlers.job_changed({**before, "metadata": {**before["metadata"], "resourceVersion": "1"}}, "ADDED")
    known = edge.caches.job(KEY)
    assert known is not None
    assert known.suspended
