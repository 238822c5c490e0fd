"""Namespaces that refuse: when one is left out, what the first look says, and that Events of others are still read."""

import asyncio

import pytest

from finetune_operator.api import ApiError
from finetune_operator.caches import Caches
from finetune_operator.cluster import CORE
from finetune_operator.model import JobView, RunKey
from finetune_operator.namespaces import Namespaces
from finetune_operator.objects import Json
from finetune_operator.preflight import NotPossible, check
from finetune_operator.warning_events import REASONS, WarningEvents
from tests.unit.operator_edge.documents import CREATED, empty, job, listed
from tests.unit.operator_edge.fake_api import FakeApi

NAMES = ("team-a", "team-b")


@pytest.fixture
def server() -> FakeApi:
    server = FakeApi()
    empty(server, *NAMES)
    return server


def refuse(server: FakeApi, part: str, status: int = 403) -> None:
    def refused(method: str, path: str) -> None:
        if part in path:
            raise ApiError(status, f"forbidden in {path}")

    server.refuse = refused


def answering(namespaces: Namespaces) -> set[str]:
    return set(asyncio.run(namespaces.answering()))


@pytest.mark.parametrize("kind", ["finetuneruns", "jobs", "pods"])
def test_one_that_is_refused_twice_is_left_out_until_it_answers(server: FakeApi, kind: str) -> None:
    namespaces = Namespaces(server.api, NAMES)
    refuse(server, f"/team-b/{kind}")
    assert answering(namespaces) == {"team-a", "team-b"}, "it may be for a moment"
    assert answering(namespaces) == {"team-a"}
    server.refuse = lambda *_: None
    assert answering(namespaces) == {"team-a", "team-b"}


def test_where_all_are_looked_after_none_is_asked(server: FakeApi) -> None:
    assert answering(Namespaces(server.api, ())) == set()
    assert server.calls == []


@pytest.mark.parametrize("refused", NAMES)
def test_it_is_possible_where_any_namespace_answers(server: FakeApi, refused: str) -> None:
    refuse(server, f"/{refused}/")
    asyncio.run(check(server.api, NAMES))


def test_it_is_not_possible_where_all_refuse_and_each_is_named(server: FakeApi) -> None:
    refuse(server, "/finetuneruns")
    with pytest.raises(NotPossible, match=r"finetuneruns.finetune.dev in team-a or team-b \(forbidden in .*team-a"):
        asyncio.run(check(server.api, NAMES))


@pytest.mark.parametrize(("status", "said"), [(404, "install the CRD"), (0, "KUBECONFIG"), (500, "answers 500")])
def test_what_else_makes_it_impossible(server: FakeApi, status: int, said: str) -> None:
    refuse(server, "/finetuneruns", status)
    with pytest.raises(NotPossible, match=said):
        asyncio.run(check(server.api, NAMES))


def warning(namespace: str) -> Json:
    about = {"uid": f"{namespace}-job", "kind": "Job", "name": "r-trainer", "namespace": namespace}
    return {
        "metadata": {"name": "e", "namespace": namespace, "creationTimestamp": CREATED},
        "involvedObject": about,
        "reason": REASONS[0],
        "message": "no quota",
        "lastTimestamp": CREATED,
    }


@pytest.mark.parametrize("known", [True, False])
def test_events_are_read_where_they_may_be(server: FakeApi, known: bool) -> None:
    caches, namespaces, nudged = Caches(), Namespaces(server.api, NAMES), list[RunKey]()
    for name in NAMES:
        key = RunKey(name, "r")
        caches.put_job(key, JobView.from_object(job(key, f"{name}-job", name)))
        listed(server, (CORE, "events"), name, warning(name))
    if known:
        namespaces.refused.add("team-a")
    refuse(server, "/team-a/")
    events = WarningEvents(server.api, caches, namespaces, nudged.append)
    for _ in range(2):
        asyncio.run(events.round())
    assert (list(caches.warnings), nudged) == (["team-b-job"], [RunKey("team-b", "r")])
    assert any("/team-a/" in path for _, path in server.calls) is not known
