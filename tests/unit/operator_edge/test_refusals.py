"""What the API server answers to a Job: a refusal is kept for the next decision, the rest is another pass."""

from typing import Any

import pytest

from finetune_operator.actions import DeleteJob, PatchJob, Plan
from finetune_operator.api import ApiError
from finetune_operator.cluster import job_path
from finetune_operator.model import Rejection
from tests.unit.operator_edge.test_apply import JOB, KEY, NOW, TELL, Edge, refusing

WEBHOOK = "Internal error occurred: failed calling webhook mjob.kb.io"
STOP = PatchJob("r-trainer", "there", {"suspend": True})


@pytest.fixture
def edge() -> Edge:
    return Edge()


def with_job(edge: Edge, **metadata: Any) -> Edge:
    edge.server.objects[job_path(KEY)] = {**JOB, "metadata": {**JOB["metadata"], "uid": "there", **metadata}}
    return edge


def stopping(edge: Edge) -> Plan:
    status = edge.observed().run.status.model_copy(update={"state": "Suspending"})
    return Plan((STOP,), status)


@pytest.mark.parametrize("code", [400, 403, 422, 500, 503, 504])
def test_a_job_that_is_refused_or_breaks_the_server_is_decided_anew(edge: Edge, code: int) -> None:
    edge.server.refuse = refusing(code, "/jobs")
    assert not edge.apply(edge.starting())
    assert edge.caches.rejections[KEY] == Rejection(code, "refused", NOW)
    assert edge.kinds() == ["POST jobs"]


@pytest.mark.parametrize("code", [400, 403, 422, 500, 503, 504])
def test_so_is_a_change_and_no_status_says_that_it_was_made(edge: Edge, code: int) -> None:
    with_job(edge).server.refuse = refusing(code, "/jobs")
    assert not edge.apply(stopping(edge))
    assert edge.caches.rejections[KEY] == Rejection(code, "refused", NOW)
    assert edge.kinds() == ["PATCH jobs"]


@pytest.mark.parametrize("code", [0, 429])
def test_a_server_that_is_busy_or_away_is_asked_again(edge: Edge, code: int) -> None:
    with_job(edge).server.refuse = refusing(code, "/jobs")
    for plan in (edge.starting(), stopping(edge)):
        with pytest.raises(ApiError):
            edge.apply(plan)
    assert edge.caches.rejections == {}


@pytest.mark.parametrize("code", [404, 409])
def test_a_change_of_a_job_that_is_another_now_is_made_with_the_next_pass(edge: Edge, code: int) -> None:
    with_job(edge).server.refuse = refusing(code, "/jobs")
    with pytest.raises(ApiError):
        edge.apply(stopping(edge))
    assert edge.caches.rejections == {}


def test_a_change_that_is_taken_ends_the_refusal(edge: Edge) -> None:
    edge.caches.rejections[KEY] = Rejection(500, WEBHOOK, NOW)
    assert with_job(edge).apply(stopping(edge))
    assert edge.caches.rejections == {}
    assert edge.kinds() == ["PATCH jobs", "PATCH finetuneruns"]


def test_a_turn_whose_delete_fails_is_told_all_the_same(edge: Edge) -> None:
    """The next pass finds the status as it should be, and has nothing more to tell."""
    with_job(edge).server.refuse = refusing(503, "/jobs")
    status = edge.observed().run.status.model_copy(update={"state": "Failed"})
    with pytest.raises(ApiError):
        edge.apply(Plan((DeleteJob("r-trainer", "there"),), status, (TELL,)))
    edge.server.refuse = lambda *_: None
    edge.apply(Plan((DeleteJob("r-trainer", "there"),)))
    assert [event["reason"] for event in edge.events()] == [TELL.reason]


def test_a_job_of_this_run_that_exists_is_decided_upon_at_once(edge: Edge) -> None:
    """Its watch may have told of it before, and then tells nothing more."""
    assert not with_job(edge).apply(edge.starting())
    assert (job := edge.caches.job(KEY)) is not None
    assert job.uid == "there"
    assert edge.kinds() == ["POST jobs"]
    assert edge.caches.rejections == {}
