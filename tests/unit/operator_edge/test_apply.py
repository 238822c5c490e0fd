"""What a pass writes, in which order, and what it does where it is refused."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from finetune_operator.actions import CreateJob, DeleteJob, Plan, Tell
from finetune_operator.api import ApiError
from finetune_operator.apply import Applier, NotLeading, merge_patch
from finetune_operator.caches import Caches
from finetune_operator.cluster import job_path, run_path
from finetune_operator.model import Observed, Rejection, RunKey, RunView
from finetune_operator.objects import Json
from tests.unit.operator_edge.fake_api import FakeApi

KEY = RunKey("team", "r")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB: Json = {
    "metadata": {
        "name": "r-trainer",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{"uid": "run", "controller": True}],
    },
    "spec": {"template": {"spec": {"containers": [{"image": "i"}]}}},
}
RUN: Json = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FinetuneRun",
    "metadata": {
        "name": "r",
        "namespace": "team",
        "uid": "run",
        "resourceVersion": "0",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {},
}
CREATE = CreateJob("r-trainer", cast("Any", JOB))
TELL = Tell("Normal", "Started", "made Job r-trainer")


class Edge:
    """An applier over a fake API server that has the run."""

    def __init__(self) -> None:
        self.server, self.caches, self.leads = FakeApi(), Caches(), True
        self.server.objects[run_path(KEY)] = RUN
        self.caches.put_run(RUN)
        self.applier = Applier(self.server.api, self.caches, lambda: self.leads, lambda: NOW)

    def observed(self, **more: Any) -> Observed:
        run = self.caches.run(KEY)
        assert run is not None
        return Observed(run, **more)

    def apply(self, plan: Plan, observed: Observed | None = None) -> bool:
        return asyncio.run(self.applier.apply(observed or self.observed(), plan))

    def starting(self, *actions: Any) -> Plan:
        status = self.observed().run.status.model_copy(update={"state": "Starting", "jobs": 1})
        return Plan((CREATE, *actions), status, (TELL,))

    def kinds(self) -> list[str]:
        return [f"{method} {path.split('/r')[0].rsplit('/', 1)[-1]}" for method, path in self.server.writes()]

    def events(self) -> list[Json]:
        return [found for path, found in self.server.objects.items() if "/events/" in path]


@pytest.fixture
def edge() -> Edge:
    return Edge()


def refusing(status: int, what: str) -> Callable[[str, str], None]:
    def refuse(method: str, path: str) -> None:
        if method != "GET" and what in path:
            raise ApiError(status, "refused")

    return refuse


def test_creates_then_status_then_deletes_then_events(edge: Edge) -> None:
    assert edge.apply(edge.starting(DeleteJob("r-trainer", "another")))
    assert edge.kinds() == ["POST jobs", "PATCH finetuneruns", "DELETE jobs", "POST events"]


def test_the_status_knows_the_jobs_uid(edge: Edge) -> None:
    edge.apply(edge.starting())
    status = edge.server.objects[run_path(KEY)]["status"]
    assert status["jobUid"] == edge.server.objects[job_path(KEY)]["metadata"]["uid"]


def test_nothing_changed_is_nothing_written(edge: Edge) -> None:
    assert edge.apply(Plan())
    assert edge.server.writes() == []


def test_a_job_of_another_is_a_refusal_that_names_it(edge: Edge) -> None:
    edge.server.objects[job_path(KEY)] = {**JOB, "metadata": {**JOB["metadata"], "uid": "x", "ownerReferences": []}}
    assert not edge.apply(edge.starting())
    assert "r-trainer" in edge.caches.rejections[KEY].message


def test_a_refused_job_is_decided_anew_before_anything_is_said(edge: Edge) -> None:
    edge.server.refuse = refusing(403, "/jobs")
    for _ in range(2):
        assert not edge.apply(edge.starting())
        assert edge.caches.rejections[KEY] == Rejection(403, "refused", NOW)
    assert edge.kinds() == ["POST jobs", "POST jobs"]
    edge.server.refuse = lambda *_: None
    assert edge.apply(edge.starting())
    assert KEY not in edge.caches.rejections


def test_a_status_over_another_version_is_refused_and_nothing_is_told(edge: Edge) -> None:
    plan = edge.starting()
    edge.server.objects[run_path(KEY)] = {**RUN, "metadata": {**RUN["metadata"], "resourceVersion": "7"}}
    with pytest.raises(ApiError, match="modified"):
        edge.apply(plan)
    assert edge.events() == []


def test_an_event_that_fails_is_told_by_a_later_pass(edge: Edge) -> None:
    edge.server.refuse = refusing(500, "/events")
    with pytest.raises(ApiError):
        edge.apply(edge.starting())
    edge.server.refuse = lambda *_: None
    edge.apply(Plan())
    assert [event["reason"] for event in edge.events()] == ["Started"]


def test_a_turn_that_is_told_twice_is_one_event(edge: Edge) -> None:
    edge.apply(edge.starting())
    edge.applier.owe(edge.observed().run, edge.observed().run.status, TELL)
    edge.apply(Plan())
    assert len(edge.events()) == 1


def test_nothing_is_written_without_the_lease(edge: Edge) -> None:
    edge.leads = False
    with pytest.raises(NotLeading):
        edge.apply(edge.starting())
    assert edge.server.writes() == []


def test_a_job_that_is_gone_needs_no_deletion(edge: Edge) -> None:
    assert edge.apply(Plan((DeleteJob("r-trainer", "gone"),)))


def test_an_older_version_does_not_replace_a_newer_one(edge: Edge) -> None:
    newer = {**RUN, "metadata": {**RUN["metadata"], "resourceVersion": "10"}, "status": {"state": "Running"}}
    assert edge.caches.put_run(newer)
    assert not edge.caches.put_run({**RUN, "metadata": {**RUN["metadata"], "resourceVersion": "9"}})
    run = edge.caches.run(KEY)
    assert isinstance(run, RunView)
    assert run.status.state == "Running"


def test_a_merge_patch_holds_what_changed_alone() -> None:
    old = {"state": "Starting", "progress": {"step": 1, "loss": 2.0}, "message": "x", "same": [1]}
    new = {"state": "Running", "progress": {"step": 2, "loss": 2.0}, "same": [1]}
    assert merge_patch(old, new) == {"state": "Running", "progress": {"step": 2}, "message": None}
