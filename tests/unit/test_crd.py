"""The generated CRD: what it must hold whatever the models say."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from finetune_sdk.api import FinetuneRun, FinetuneRunStatus
from finetune_sdk.api.rules import RULES
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.contract import MAX_ORDER_BYTES, TERMINATION_BYTES, Termination
from finetune_sdk.crd import crd
from finetune_sdk.order import order_text, parse_order
from tests.support.maximal import maximal_spec
from tests.support.spec_places import crd_places, holds, model_places, replaced, value_at
from tests.support.specs import a_run, sample

ROOT: dict[str, Any] = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
YAML_11_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"}


def schemas(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, below in node.get("properties", {}).items():
        yield from schemas(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from schemas(node[key], f"{path}[]")


def test_no_key_and_no_choice_is_a_word_that_kubectl_reads_as_something_else() -> None:
    for path, node in schemas(ROOT):
        words = {*node.get("properties", {}), *map(str, node.get("enum", []))}
        if path != ".status.conditions[].status":  # Kubernetes' own, and never typed by a person
            assert not {word for word in words if word.lower() in YAML_11_WORDS}, path


def test_one_rule_holds_every_field_that_may_not_change() -> None:
    (rule,) = [
        one["rule"] for one in ROOT["properties"]["spec"]["x-kubernetes-validations"] if "has(oldSelf" in one["rule"]
    ]
    fixed = {field.alias or name for name, field in FinetuneRunSpec.model_fields.items()} - {"suspend", "lifecycle"}
    for name in fixed:
        assert f"has(self.{name}) == has(oldSelf.{name})" in rule
    assert "suspend" not in rule
    assert "lifecycle" not in rule


def test_every_rule_of_the_table_stands_in_the_crd() -> None:
    told = {one["message"] for _, node in schemas(ROOT) for one in node.get("x-kubernetes-validations", [])}
    assert {rule.message for rule in RULES} <= told


@pytest.mark.parametrize(
    "group", [(".spec.model.weights", "tag", "uri", "random"), (".spec.training.freeze.image", "blocks", "all")]
)
def test_no_field_of_an_exactly_one_group_has_a_default(group: tuple[str, ...]) -> None:
    (node,) = [node for path, node in schemas(ROOT) if path == group[0]]
    assert [name for name in group[1:] if "default" in node["properties"][name]] == []


def test_a_run_that_nobody_has_seen_says_so() -> None:
    status = ROOT["properties"]["status"]["default"]
    assert (status["state"], status["reason"]) == ("Pending", "WaitingForOperator")


def test_an_order_comes_back_as_the_spec_without_what_is_the_pods() -> None:
    spec = FinetuneRunSpec.model_validate(
        {
            "model": {"weights": {"uri": "s3://b/base/"}},
            "data": {"source": {"uri": "s3://b/data/"}},
            "output": {"uri": "s3://b/out/"},
            "compute": {"gpusPerNode": 0, "env": [{"name": "TOKEN", "value": "x" * 1000}] * 32},
        }
    )
    text = order_text(name="r", namespace="n", uid="u", attempt=1, spec=spec)
    assert "TOKEN" not in text
    assert len(text.encode()) < MAX_ORDER_BYTES
    assert parse_order(text).run.spec.compute.gpus_per_node == 0


def test_the_longest_order_keeps_its_bound() -> None:
    """No spec that the schema accepts is longer than one of which every part is as long as its bounds let it be."""
    spec = FinetuneRunSpec.model_validate(maximal_spec())
    text = order_text(name="a" * 50, namespace="n" * 63, uid="u" * 36, attempt=2**31, spec=spec)
    assert 0.8 * MAX_ORDER_BYTES < len(text.encode()) < MAX_ORDER_BYTES


def test_every_part_of_the_longest_order_is_as_long_as_it_may_be() -> None:
    """One character more in any text, one entry more in any list or map, is refused."""
    spec = maximal_spec()
    for place in crd_places():
        if place and place[0] != "compute" and holds(spec, place):
            value = value_at(spec, place)
            longer: Any = None
            if isinstance(value, str) and model_places()[place].get("maxLength", len(value)) == len(value):
                longer = f"{value}z"
            elif isinstance(value, list):
                longer = [*value, value[0]]
            elif isinstance(value, dict) and "maxProperties" in crd_places()[place]:
                longer = {**value, "more": next(iter(value.values()))}
            if longer is not None:
                with pytest.raises(ValidationError):
                    FinetuneRunSpec.model_validate(replaced({"spec": spec}, place, longer)["spec"])


@pytest.mark.parametrize("message", ["short", "x" * 10_000, "\u00e4\u00f6" * 5_000, '"\\' * 5_000])
def test_a_termination_message_always_fits(message: str) -> None:
    said = Termination(reason="TrainerError", message=message, exit_code=70)
    assert len(said.to_bytes()) <= TERMINATION_BYTES
    assert Termination.parse(said.to_bytes().decode()) is not None


@pytest.mark.parametrize("name", ["full_tag", "full_towers", "smallest"])
def test_what_an_api_server_stored_of_a_sample_means_the_same(name: str) -> None:
    """tests/on_cluster/crd holds that it is stored so; the operator reads these."""
    given = a_run() if name == "smallest" else sample(f"{name}.yaml")
    stored = FinetuneRun.model_validate(sample(f"stored/{name}.yaml"))
    assert stored.spec == FinetuneRun.model_validate(given).spec
    assert stored.status == FinetuneRunStatus()
