"""K4: a run's spec is fixed, but for suspend and lifecycle; each place of it, changed, added, set to null, removed."""

import copy
import json
from itertools import count
from typing import Any

import pytest

from finetune_sdk.api import FinetuneRun, FinetuneRunSpec
from finetune_sdk.crd.definition import MUTABLE
from tests.on_cluster.conftest import Kube
from tests.on_cluster.crd.server import Server
from tests.on_cluster.crd.verdicts import is_valid
from tests.support.hostile import ANYWHERE, values_for
from tests.support.spec_places import (
    base_with,
    bases,
    crd_places,
    dotted,
    holds,
    model_places,
    removed,
    replaced,
    value_at,
)
from tests.support.specs import a_run, sample

Json = dict[str, Any]
Path = tuple[str | int, ...]
FIXED = "only spec.suspend and spec.lifecycle may change while the run exists"
PLACES = [place for place in crd_places() if place and place[0] not in MUTABLE]
ONE_VALUE: set[Path] = {
    ("task",),
    ("model", "weights", "random"),
    ("training", "schedule", "name"),
    ("output", "exports", 0),  # the sample exports all there is
    ("compute", "env", 0, "valueFrom", "fieldRef"),  # whose only field has a place of its own
}
"""Places where nothing else may stand."""
FIXED_PARTS = [field.alias or name for name, field in FinetuneRunSpec.model_fields.items() if name not in MUTABLE]
_numbers = count()


def fixed_part(document: Json) -> Json:
    """What may not change, with sets in one order: CEL compares them as sets."""
    fixed: Json = copy.deepcopy({name: part for name, part in document["spec"].items() if name not in MUTABLE})
    for part, name in (("evaluation", "recallAt"), ("output", "exports")):
        if isinstance(fixed.get(part, {}).get(name), list):
            fixed[part][name].sort()
    return fixed


def meaning(document: Json) -> Json:
    return fixed_part(FinetuneRun.model_validate(document).model_dump(by_alias=True))


def changed(place: Path) -> Json:
    """A valid document that differs at `place` from the one that sets it."""
    base = base_with(place)
    present = value_at(base["spec"], place)
    elsewhere = [value_at(other["spec"], place) for other in bases() if holds(other["spec"], place)]
    nodes = (crd_places()[place], model_places()[place])
    values = (*elsewhere, *(value for node in nodes for value in values_for(node, present)), *ANYWHERE)
    others = (replaced(base, place, value) for value in values if value is not None)
    return next(other for other in others if is_valid(other) and meaning(other) != meaning(base))


def assert_fixed(server: Server, namespace: str, before: Json, after: Json) -> bool:
    """`after` is refused in place of `before` if and only if it says something else; whether it did."""
    name = {"name": f"run-{next(_numbers)}"}
    stored = server.create({**before, "metadata": name}, namespace, store=True)
    assert stored.accepted, stored.body
    wanted = server.create({**after, "metadata": {"name": "other"}}, namespace).body
    answer = server.replace({**after, "metadata": {**name, "resourceVersion": version(stored.body)}}, namespace)
    differs = fixed_part(stored.body) != fixed_part(wanted)
    assert answer.accepted is not differs, answer.body
    if differs:
        was, will_be = fixed_part(stored.body), fixed_part(wanted)
        altered = [f"spec.{key}" for key in FIXED_PARTS if was.get(key) != will_be.get(key)]
        assert [message for _, message in answer.causes if f"changed: {' '.join(altered)}; {FIXED}" in message]
    return differs


def version(stored: Json) -> str:
    """What a replacement must name."""
    found: str = stored["metadata"]["resourceVersion"]
    return found


@pytest.fixture(scope="module")
def place_of_runs(kubectl: Kube) -> str:
    """One namespace for all these runs: nothing lists them."""
    kubectl("create", "namespace", "fixed")
    return "fixed"


@pytest.mark.parametrize("place", [place for place in PLACES if place not in ONE_VALUE], ids=dotted)
def test_changed(server: Server, place_of_runs: str, place: Path) -> None:
    assert assert_fixed(server, place_of_runs, base_with(place), changed(place))
    assert assert_fixed(server, place_of_runs, changed(place), base_with(place))


@pytest.mark.parametrize("place", PLACES, ids=dotted)
def test_removed_set_to_null_and_added(server: Server, place_of_runs: str, place: Path) -> None:
    """A removed field that had its default's value is no change; most are one."""
    base = base_with(place)
    for without in (removed(base, place), replaced(base, place, None)):
        if is_valid(without):
            assert_fixed(server, place_of_runs, base, without)
            assert_fixed(server, place_of_runs, without, base)


@pytest.mark.parametrize("place", [place for place in PLACES if all(isinstance(key, str) for key in place)], ids=dotted)
def test_a_patch_to_null(server: Server, place_of_runs: str, place: Path) -> None:
    base = base_with(place)
    name = f"run-{next(_numbers)}"
    stored = server.create({**base, "metadata": {"name": name}}, place_of_runs, store=True).body
    patch: Any = None
    spec = stored["spec"]
    for depth, key in reversed(list(enumerate(place))):
        patch = {next(iter(value_at(spec, place[:depth]))) if key == "*" else key: patch}
    answer = server.merge(name, {"spec": patch}, place_of_runs)
    if answer.accepted:
        assert answer.body["spec"] == stored["spec"], "only the default was put in place of itself"


def test_a_set_in_another_order_is_no_change(server: Server, place_of_runs: str) -> None:
    before = a_run(evaluation__recallAt=[1, 10], output__exports=["onnx", "open_clip"])
    after = a_run(evaluation__recallAt=[10, 1], output__exports=["open_clip", "onnx"])
    assert not assert_fixed(server, place_of_runs, before, after)


@pytest.mark.parametrize("base", ["full_tag.yaml", "full_towers.yaml"])
def test_without_its_spec(server: Server, place_of_runs: str, base: str) -> None:
    document = {**sample(base), "metadata": {"name": f"run-{next(_numbers)}"}}
    stored = server.create(document, place_of_runs, store=True).body
    bare = {key: value for key, value in document.items() if key != "spec"}
    bare["metadata"] = {**document["metadata"], "resourceVersion": version(stored)}
    for answer in (
        server.replace(bare, place_of_runs),
        server.replace({**bare, "spec": None}, place_of_runs),
        server.merge(document["metadata"]["name"], {"spec": None}, place_of_runs),
    ):
        assert ("spec", "Required value") in answer.causes


LIFECYCLE = (
    {"maxRetries": 0}, {"maxRetries": 100}, {"startDeadlineSeconds": 5}, {"activeDeadlineSeconds": 5},
    {"progressDeadlineSeconds": 5}, {"ttlSecondsAfterFinished": 0}, {"restart": 1}, {"restart": 2_147_483_647},
)  # fmt: skip


@pytest.mark.parametrize("more", [{"suspend": True}, *({"lifecycle": change} for change in LIFECYCLE)], ids=json.dumps)
def test_what_may_change(server: Server, place_of_runs: str, more: Json) -> None:
    name = f"run-{next(_numbers)}"
    document = {**a_run(), "metadata": {"name": name}}
    server.create(document, place_of_runs, store=True)
    answer = server.merge(name, {"spec": more}, place_of_runs)
    assert answer.accepted, answer.body
    assert answer.body["metadata"]["generation"] == 2


RESTARTS = {(3, 3): True, (3, 4): True, (3, 2): False, (3, 0): False, (3, None): False, (0, None): True}


@pytest.mark.parametrize(("change", "accepted"), RESTARTS.items(), ids=str)
def test_restart_may_only_grow(
    server: Server, place_of_runs: str, change: tuple[int, int | None], accepted: bool
) -> None:
    name = f"run-{next(_numbers)}"
    server.create({**a_run(lifecycle__restart=change[0]), "metadata": {"name": name}}, place_of_runs, store=True)
    answer = server.merge(name, {"spec": {"lifecycle": {"restart": change[1]}}}, place_of_runs)
    assert answer.accepted is accepted
    if not accepted:
        ((field, message),) = answer.causes
        assert field == "spec.lifecycle.restart"
        assert "may only grow: each raise starts a failed run once more" in message
