"""The models accept what the API server will accept, default what DESIGN says, and stay small."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import BaseModel, ValidationError

from finetune_sdk import api
from finetune_sdk.api import FinetuneRun, FinetuneRunSpec, FinetuneRunStatus, reasons
from finetune_sdk.api.base import Schema
from finetune_sdk.api.compute import Volume
from finetune_sdk.api.rules import RULES
from finetune_sdk.spec_paths import fields_of
from tests.support.specs import DATA, MINIMAL, a_run, a_spec, sample, specs

FULL = ("full_tag.yaml", "full_towers.yaml")


def all_models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Every model below `model` by its class name, by way of the schema's definitions."""
    names = model.model_json_schema()["$defs"]
    known = {kind.__name__: kind for kind in _subclasses(Schema) if kind.__module__.startswith("finetune_sdk.api.")}
    return {name: known[name] for name in (model.__name__, *names)}


def _subclasses(kind: type[BaseModel]) -> list[type[BaseModel]]:
    return [found for below in kind.__subclasses__() for found in (below, *_subclasses(below))]


def given_paths(model: type[BaseModel], document: dict[str, Any]) -> set[tuple[str, str]]:
    """(class, field) of every field that `document` sets."""
    parsed = model.model_validate(document)
    found: set[tuple[str, str]] = set()
    waiting: list[Any] = [parsed]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, BaseModel):
            found |= {(type(part).__name__, name) for name in part.model_fields_set}
            waiting.extend(getattr(part, name) for name in part.model_fields_set)
    return found


@pytest.mark.parametrize("name", FULL)
def test_a_full_sample_reads_as_its_golden_file(name: str) -> None:
    run = FinetuneRun.model_validate(sample(name))
    golden = json.loads((DATA / name.replace(".yaml", ".json")).read_text())
    assert run.model_dump(mode="json", by_alias=True, exclude_unset=True) == golden


def test_the_samples_set_every_field_of_the_spec() -> None:
    given_fields = set().union(*(given_paths(FinetuneRun, document) for document in (*map(sample, FULL), a_run())))
    models = all_models(FinetuneRunSpec)
    every = {(name, field) for name, model in models.items() for field in model.model_fields}
    every -= {("Weights", "uri")}  # a third member of a group of three; the rules' table has it
    every -= {("Volume", field) for field in Volume.model_fields}  # each source is passed through as emptyDir is
    assert every - given_fields == set()


def test_the_defaults_are_those_of_the_design() -> None:
    spec = FinetuneRunSpec.model_validate(MINIMAL)
    assert (spec.training.seed, spec.checkpoints.keep, spec.lifecycle.max_retries) == (0, 2, 3)
    assert (spec.lifecycle.progress_deadline_seconds, spec.compute.termination_grace_period_seconds) == (1800, 120)
    assert (spec.compute.gpus_per_node, spec.output.exports, spec.data.max_bad_fraction) == (1, ["open_clip"], 0.01)
    assert (spec.evaluation.gate, spec.training.lora, spec.training.freeze.image) == (None, None, None)
    assert (spec.evaluation.recall_at, spec.evaluation.metric, spec.checkpoints.every_minutes) == (None, None, None)


def test_a_run_that_no_operator_has_seen_says_so() -> None:
    status = FinetuneRunStatus()
    assert (status.observed_generation, status.state, status.reason) == (0, "Pending", "WaitingForOperator")
    assert {condition.type: condition.status for condition in status.conditions} == {
        "Accepted": "Unknown",
        "Reconciling": "True",
    }


@given(spec=specs)
@settings(max_examples=100, deadline=None)
def test_a_spec_survives_json(spec: dict[str, Any]) -> None:
    read = FinetuneRunSpec.model_validate(spec)
    written = read.model_dump_json(by_alias=True, exclude_none=True)
    assert FinetuneRunSpec.model_validate_json(written) == read
    assert FinetuneRunSpec.model_validate(json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))) == read


AS_THE_API_SERVER = {
    "5.0 is an integer": ({"training__epochs": 5.0}, True),
    "5.5 is none": ({"training__epochs": 5.5}, False),
    "text is no number": ({"training__epochs": "5"}, False),
    "true is no number": ({"training__epochs": True}, False),
    "a number is no text": ({"model__name": 5}, False),
    "1 is no boolean": ({"suspend": 1}, False),
    "an integer is a number": ({"training__optimizer": {"learningRate": 0}}, True),
    "infinity is none": ({"training__optimizer": {"weightDecay": float("inf")}}, False),
    "auto where it may stand": ({"training__microBatchSize": "auto"}, True),
    "a number where auto may stand": ({"evaluation__every": 10}, True),
    "other text is not auto": ({"evaluation__every": "10"}, False),
    "no unknown key": ({"training__learningRate": 1}, False),
    "null is absent": ({"training": None, "evaluation__gate": None}, True),
    "null in a map is absent": ({"compute__nodeSelector": {"gpu": None}}, True),
    "null is nothing that is required": ({"output__uri": None}, False),
    "no null in a list": ({"output__exports": [None]}, False),
    "no decimal point where CEL reads": ({"evaluation__recallAt": [5.0]}, False),
    "no quantity beyond 64 bits": ({"compute__sharedMemory": 10**19}, False),
    "a volume's source passes through": (
        {"compute__volumes": [{"name": "a", "emptyDir": {"medium": None}}, {"name": "b", "downwardAPI": {}}]},
        True,
    ),
    "no unknown source of a volume": ({"compute__volumes": [{"name": "a", "floppy": {}}]}, False),
    "a quantity as a number": ({"compute__resources": {"requests": {"cpu": 8}}}, True),
    "a quantity with a unit": ({"compute__sharedMemory": "1.5Gi"}, True),
    "a fraction only in quotes": ({"compute__sharedMemory": 1.5}, False),
    "no negative quantity": ({"compute__sharedMemory": "-1"}, False),
    "no path without a scheme": ({"output__uri": "out"}, False),
    "no other scheme": ({"output__uri": "gs://bucket/out"}, False),
    "a bucket is named": ({"output__uri": "s3://"}, False),
    "spaces in a URI": ({"output__uri": "s3://bucket/a b"}, True),
    "no line break in a URI": ({"output__uri": "s3://bucket/a\nb"}, False),
    "where holds text": ({"data__source": {"uri": "file:///a", "where": {"fold": 1}}}, False),
    "a pod's affinity passes through, null too": ({"compute__affinity": {"nodeAffinity": None}}, True),
    "random weights have no settings": ({"model__weights": {"random": {"seed": 1}}}, False),
}


@pytest.mark.parametrize(("changes", "accepted"), AS_THE_API_SERVER.values(), ids=AS_THE_API_SERVER)
def test_what_is_accepted(changes: dict[str, Any], accepted: bool) -> None:
    if accepted:
        assert FinetuneRun.model_validate(a_run(**changes))
    else:
        with pytest.raises(ValidationError):
            FinetuneRun.model_validate(a_run(**changes))


BREAKS: dict[str, dict[str, Any]] = {
    "two kinds of weights": {"model__weights": {"tag": "openai", "random": {}}},
    "no kind of weights": {"model__weights": {}},
    "towers beside a name": {"model__towers": {"image": {"timm": "a"}, "text": {"huggingface": "b"}}},
    "no model at all": {"model": {}},
    "a tag without an architecture": {"model": {"weights": {"tag": "openai"}}},
    "source beside test": {"data__test": {"uri": "file:///a"}},
    "train without test": {"data": {"train": {"uri": "file:///a"}}},
    "epochs beside steps": {"training": {"epochs": 1, "steps": 1}},
    "freezing neither": {"training__freeze": {"image": {}}},
    "a metric that is not measured": {"evaluation": {"metric": "image_retrieval_recall@5", "recallAt": [1]}},
    "minutes beside steps": {"checkpoints": {"everyMinutes": 1, "everySteps": 1}},
    "a Secret beside an identity": {"storage": {"secretRef": {"name": "a"}, "workloadIdentity": True}},
    "an identity of nobody": {"storage": {"workloadIdentity": True}},
    "a variable with two values": {
        "compute__env": [{"name": "A", "value": "", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}]
    },
    "a variable from nowhere": {"compute__env": [{"name": "A", "valueFrom": {}}]},
}
KEEPS = {
    "weights by URI alone": {"model": {"weights": {"uri": "s3://bucket/model"}}},
    "towers alone": {"model": {"towers": {"image": {"timm": "a"}, "text": {"huggingface": "b"}}}},
    "the default metric's k": {"evaluation": {"metric": "text_retrieval_recall@10"}},
    "no identity beside a Secret": {"storage": {"secretRef": {"name": "a"}, "workloadIdentity": False}},
}


@pytest.mark.parametrize("changes", BREAKS.values(), ids=BREAKS)
def test_a_rule_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        FinetuneRunSpec.model_validate(a_spec(**changes))
    assert [error["type"] for error in refused.value.errors()] == ["rules"]


@pytest.mark.parametrize("changes", KEEPS.values(), ids=KEEPS)
def test_a_rule_lets_pass(changes: dict[str, Any]) -> None:
    assert FinetuneRunSpec.model_validate(a_spec(**changes))


def test_every_rule_is_broken_by_a_row_above() -> None:
    told = set()
    for changes in BREAKS.values():
        with pytest.raises(ValidationError) as refused:
            FinetuneRunSpec.model_validate(a_spec(**changes))
        told |= {rule.message for error in refused.value.errors() for rule in error["ctx"]["rules"]}
    assert told == {rule.message for rule in RULES}


def test_every_rule_names_fields_that_exist() -> None:
    models = all_models(FinetuneRunSpec)
    for rule in RULES:
        for path in rule.fields:
            assert path.split(".")[0] in fields_of(models[rule.on]), f"{rule.on} has no {path}"


def test_every_field_has_its_reference_text() -> None:
    models = all_models(FinetuneRun)
    bare = {
        f"{name}.{field}"
        for name, model in models.items()
        for field, info in model.model_fields.items()
        if not info.description
    }
    assert {name for name in bare if not name.startswith("Metadata.")} == set()


def test_reasons_are_of_one_kind_each() -> None:
    kinds = [reasons.WAITING, reasons.TERMINAL, reasons.TERMINAL_AFTER_RETRIES, reasons.ON_SUCCESS]
    assert sum(map(len, kinds)) == len(reasons.REASONS)
    constants = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert constants == reasons.REASONS


def test_the_package_exports_what_it_says() -> None:
    assert sorted(api.__all__) == sorted(set(api.__all__))
    assert all(hasattr(api, name) for name in api.__all__)
