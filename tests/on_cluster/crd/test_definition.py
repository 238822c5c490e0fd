"""The CRD on a real API server: sound, described, and what kubectl shows of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from finetune_sdk.api import FinetuneRunStatus
from finetune_sdk.crd.definition import COLUMNS, NAME
from tests.on_cluster.conftest import Kube
from tests.on_cluster.crd.server import RUNS, Server
from tests.support.maximal import maximal_spec
from tests.support.spec_places import bases
from tests.support.specs import a_run, sample

Json = dict[str, Any]
STORED = {"full_tag": bases()[0], "full_towers": bases()[2], "smallest": a_run()}
OPENAPI = "/openapi/v3/apis/finetune.dev/v1alpha1"
FINISHED = {
    "state": "Succeeded",
    "reason": "NoGain",
    "jobName": "seen-trainer",
    "attempts": 2,
    "progress": {"stage": "train", "summary": "train 42%", "etaSeconds": 61.5},
    "evaluation": {"metric": "image_retrieval_recall@5", "before": 0.6391, "after": 0.6391, "gain": 0.0},
}


def seen(server: Server, namespace: str, status: Json) -> None:
    """A run of which an operator says `status`."""
    labels = {"kueue.x-k8s.io/queue-name": "team-a"}
    server.create({**a_run(), "metadata": {"name": "seen", "labels": labels}}, namespace, store=True)
    path = f"{RUNS.format(namespace)}/seen/status"
    assert server.call("PATCH", path, {"status": status}, "application/merge-patch+json").accepted


def test_it_is_established_and_structural(server: Server) -> None:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME}"
    conditions = {one["type"]: one["status"] for one in server.call("GET", path).body["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_a_run_that_no_operator_has_seen_says_so(server: Server, kubectl: Kube, namespace: str) -> None:
    """K2, as far as it needs no operator."""
    server.create(a_run(), namespace, store=True)
    status = server.call("GET", f"{RUNS.format(namespace)}/tiny").body["status"]
    assert status == FinetuneRunStatus().model_dump(mode="json", by_alias=True, exclude_none=True)
    assert kubectl("get", "ftr", "-n", namespace, "--no-headers").split()[:3] == [
        "tiny", "Pending", "WaitingForOperator",
    ]  # fmt: skip


def test_the_columns(server: Server, kubectl: Kube, namespace: str) -> None:
    seen(server, namespace, FINISHED)
    narrow, wide = (kubectl("get", "ftr", "-n", namespace, *more).splitlines() for more in ((), ("-o", "wide")))
    always = ["NAME", *(name.upper() for name, _, _, priority in COLUMNS if not priority)]
    assert narrow[0].split() == always
    assert wide[0].split() == [*always, *(name.upper() for name, _, _, priority in COLUMNS if priority)]
    figures = ["seen", "Succeeded", "NoGain", "train", "42%", "0.6391", "0.6391", "0", "team-a"]
    assert narrow[1].split()[:-1] == figures
    assert wide[1].split()[-4:] == ["ViT-B-32", "seen-trainer", "61.5", "2"]


def test_runs_are_found_by_state_and_reason(server: Server, kubectl: Kube, namespace: str) -> None:
    server.create(a_run(), namespace, store=True)
    seen(server, namespace, FINISHED)
    for selector, found in {
        "status.state=Pending": "tiny",
        "status.reason=NoGain": "seen",
        "status.state!=Pending,status.reason=NoGain": "seen",
        "status.state=Failed": "",
    }.items():
        names = kubectl("get", "ftr", "-n", namespace, "--field-selector", selector, "-o", "jsonpath={..metadata.name}")
        assert names == found, selector


@pytest.mark.parametrize("name", ["ftr", "finetunerun", "finetuneruns", "all"])
def test_its_names(server: Server, kubectl: Kube, namespace: str, name: str) -> None:
    server.create(a_run(), namespace, store=True)
    assert "finetunerun.finetune.dev/tiny" in kubectl("get", name, "-n", namespace, "-o", "name")


def fields(node: Json, path: str = "ftr") -> Iterator[tuple[str, Json]]:
    """Each field below `node` with its path."""
    for name, below in node.get("properties", {}).items():
        yield f"{path}.{name}", below
        yield from fields(below, f"{path}.{name}")
    if "items" in node:
        yield from fields(node["items"], f"{path}[]")


def test_no_field_is_without_description(server: Server) -> None:
    schema = server.call("GET", OPENAPI).body["components"]["schemas"]["dev.finetune.v1alpha1.FinetuneRun"]
    found = dict(fields(schema))
    assert len(found) > 200
    inside_metadata = "ftr.metadata."
    bare = [path for path, node in found.items() if not node.get("description")]
    assert [path for path in bare if not path.startswith(inside_metadata)] == []


@pytest.mark.parametrize("path", ["", ".spec", ".spec.training", ".spec.compute.env", ".spec.data.train", ".status"])
def test_explain_tells_every_field(server: Server, kubectl: Kube, path: str) -> None:
    schema = server.call("GET", OPENAPI).body["components"]["schemas"]["dev.finetune.v1alpha1.FinetuneRun"]
    for key in path.split(".")[1:]:
        schema = schema["properties"][key]
        schema = schema.get("items", schema)
    told = " ".join(kubectl("explain", f"ftr{path}").split())
    for name, node in schema["properties"].items():
        assert f" {name} <" in told
        if name not in ("apiVersion", "kind", "metadata"):
            assert " ".join(node["description"].split()) in told


def test_status_is_the_operators_alone(server: Server, namespace: str) -> None:
    """A user's apply cannot touch it, the operator's write not the spec; only the spec counts generations."""
    made = server.create({**a_run(), "status": {"state": "Succeeded"}}, namespace, store=True).body
    assert (made["status"]["state"], made["metadata"]["generation"]) == ("Pending", 1)
    path = f"{RUNS.format(namespace)}/tiny/status"
    changed = {"spec": {"suspend": True}, "status": {"state": "Failed"}}
    after = server.call("PATCH", path, changed, "application/merge-patch+json").body
    assert (after["status"]["state"], after["spec"]["suspend"], after["metadata"]["generation"]) == ("Failed", False, 1)


def test_the_largest_spec_is_accepted(server: Server) -> None:
    answer = server.create({**a_run(), "spec": maximal_spec()})
    assert answer.accepted, answer.body


@pytest.mark.parametrize("name", STORED)
def test_what_is_stored_of_a_sample(server: Server, name: str, tmp_path: Path) -> None:
    stored = server.create(STORED[name]).body
    for key in ("uid", "creationTimestamp", "managedFields", "generation"):
        stored["metadata"].pop(key)
    seen = tmp_path / f"{name}.yaml"
    with seen.open("w") as file:
        file.write("# What an API server stores of the sample of this name, with its defaults filled in.\n")
        YAML().dump(stored, file)
    assert stored == sample(f"stored/{name}.yaml"), f"if that is meant: cp {seen} tests/data/stored/"
