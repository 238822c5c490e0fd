"""K3 and K4 as a person meets them: what kubectl says of a file with a mistake, and that it names the field."""

import copy
import json
from typing import Any

import pytest

from tests.on_cluster.conftest import Kube
from tests.support.specs import a_run, sample

Json = dict[str, Any]
INVALID = 'The FinetuneRun "tiny" is invalid: '


def named(name: str) -> Json:
    return {**a_run(), "metadata": {"name": name}}


def without(key: str) -> Json:
    document = a_run()
    del document["spec"][key]
    return document


NAME = "must be lower-case letters, digits and dashes, beginning with a letter and not ending with a dash, at most 50"
REFUSED: dict[str, tuple[Json, str]] = {
    "a typo": (a_run(training__batchsize=64), 'unknown field "spec.training.batchsize"'),
    "a typo above": ({**a_run(), "specs": {}}, 'unknown field "specs"'),
    "a name too long": (named("a" * 51), f"metadata.name: Invalid value: {NAME}"),
    "a name with a digit first": (named("8-gpus"), f"metadata.name: Invalid value: {NAME}"),
    "a name with a dot": (named("a.b"), f"metadata.name: Invalid value: {NAME}"),
    "two kinds of weights": (
        a_run(model__weights={"tag": "openai", "random": {}}),
        f"{INVALID}spec.model.weights: Invalid value: give exactly one of tag, uri and random",
    ),
    "no weights": (
        a_run(model={"name": "ViT-B-32"}),
        f"{INVALID}spec.model: Invalid value: give weights ({{tag: openai}}, {{uri: ...}} or {{random: {{}}}}) beside",
    ),
    "neither blocks nor all": (
        a_run(training__freeze={"text": {}}),
        f"{INVALID}spec.training.freeze.text: Invalid value: give exactly one of blocks and all",
    ),
    "a metric that is not measured": (
        a_run(evaluation={"metric": "image_retrieval_recall@5", "recallAt": [1, 10]}),
        f"{INVALID}spec.evaluation.metric: Invalid value: metric must be one that is measured: its k must",
    ),
    "a metric that is none": (
        a_run(evaluation={"metric": "recall"}),
        f'{INVALID}spec.evaluation.metric: Invalid value: "recall": must be image_retrieval_recall@K or text_retrieval',
    ),
    "a path for a URI": (
        a_run(output__uri="out"),
        f'{INVALID}spec.output.uri: Invalid value: "out": must be a URI such as s3://bucket/folder or file:///folder',
    ),
    "gigabytes": (
        a_run(compute__resources={"requests": {"memory": "16GB"}}),
        f'{INVALID}spec.compute.resources.requests[memory]: Invalid value: "16GB": must be a Kubernetes quantity',
    ),
    "an account is missing": (
        a_run(storage={"workloadIdentity": True}),
        f"{INVALID}spec.compute.serviceAccountName: Invalid value: storage.workloadIdentity needs",
    ),
    "a number in quotes": (a_run(training__batchSize="64"), "spec.training.batchSize in body must be of type integer"),
    "too small a number": (
        a_run(training__batchSize=1),
        "spec.training.batchSize in body should be greater than or equal",
    ),
    "another choice": (a_run(training__precision="fp8"), 'Unsupported value: "fp8": supported values: "auto", "bf16",'),
    "an entry twice": (a_run(output__exports=["onnx", "onnx"]), 'spec.output.exports[1]: Duplicate value: "onnx"'),
    "a part is missing": (without("model"), "spec.model: Required value"),
}


@pytest.mark.parametrize(("document", "told"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_field_and_remedy(kubectl: Kube, document: Json, told: str) -> None:
    """With kubectl's own defaults: validation is strict."""
    assert told in kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(document), check=False)


def seed(spec: Json) -> None:
    spec["training"]["seed"] = 8


def a_field_more(spec: Json) -> None:
    spec["checkpoints"]["keep"] = 4
    spec["data"]["validation"]["format"] = "csv"


def a_null(spec: Json) -> None:
    spec["evaluation"]["gate"] = None


def a_part_less(spec: Json) -> None:
    del spec["storage"]


def two_parts(spec: Json) -> None:
    spec["data"]["leakage"] = "drop"
    spec["compute"]["affinity"] = {"podAffinity": {}}


CHANGED = {
    seed: "spec.training",
    a_field_more: "spec.data spec.checkpoints",
    a_null: "spec.evaluation",
    a_part_less: "spec.storage",
    two_parts: "spec.data spec.compute",
}


@pytest.fixture
def applied(kubectl: Kube, namespace: str) -> Json:
    """A full run that was applied, as the user's file has it."""
    document = sample("full_tag.yaml")
    document["metadata"] = {"name": "tiny", "namespace": namespace}
    kubectl("apply", "-f", "-", stdin=json.dumps(document))
    return document


@pytest.mark.parametrize(("change", "parts"), CHANGED.items(), ids=lambda one: getattr(one, "__name__", one))
def test_a_changed_file_is_refused_and_what_changed_is_named(
    kubectl: Kube, applied: Json, change: Any, parts: str
) -> None:
    changed = copy.deepcopy(applied)
    change(changed["spec"])
    told = kubectl("apply", "-f", "-", stdin=json.dumps(changed), check=False)
    assert told.startswith(
        f"{INVALID}spec: Forbidden: changed: {parts}; only spec.suspend and spec.lifecycle may change"
    )


def test_what_may_change_is_applied(kubectl: Kube, applied: Json) -> None:
    changed = copy.deepcopy(applied)
    changed["spec"] |= {"suspend": False, "lifecycle": {"maxRetries": 1, "restart": 2}}
    assert kubectl("apply", "-f", "-", stdin=json.dumps(applied)).endswith("unchanged\n")
    assert kubectl("apply", "-f", "-", stdin=json.dumps(changed)).endswith("configured\n")


def test_restart_may_not_shrink(kubectl: Kube, applied: Json) -> None:
    applied["spec"]["lifecycle"]["restart"] = 0
    told = kubectl("apply", "-f", "-", stdin=json.dumps(applied), check=False)
    assert told.startswith(
        f"{INVALID}spec.lifecycle.restart: Invalid value: may only grow: each raise starts a failed run"
    )


def test_a_file_without_spec(kubectl: Kube, applied: Json) -> None:
    del applied["spec"]
    assert "spec: Required value" in kubectl("apply", "-f", "-", stdin=json.dumps(applied), check=False)
