"""What helm prints after an installation: true for what was installed, and the next command."""

import pytest

from tests.on_cluster.chart.cluster import Cluster
from tests.on_cluster.chart.helm import CHART, RELEASE, SYSTEM, Json

SAID: dict[str, tuple[Json, list[str], list[str]]] = {
    "by default": (
        {},
        [
            "the runs of every namespace.",
            "Give each namespace with runs",
            "apply -n default -f run.yaml",
            "image finetune-trainer names no registry",
            "image finetune-operator names no registry",
        ],
        ["kubectl apply -f crds/", "rbac.create"],
    ),
    "one namespace": (
        {"namespaces": ["team-a"]},
        ["the runs of the namespace team-a.", "Give the namespace the keys", "apply -n team-a -f run.yaml"],
        ["-n default"],
    ),
    "several": (
        {"namespaces": ["team-a", "team-b"]},
        [
            "the runs of the namespaces team-a, team-b.",
            "Give each namespace with runs",
            "get finetuneruns -n team-a -w",
        ],
        ["-n default"],
    ),
    "without the CRD": ({"crds": {"install": False}}, ["kubectl apply -f crds/finetuneruns.finetune.dev.yaml"], []),
    "without rights": (
        {"rbac": {"create": False}},
        ["rbac.create is false", "finetune-operator of finetune-system"],
        [],
    ),
    "images of a registry": (
        {"image": {"repository": "r.example.com/o"}, "trainer": {"image": {"repository": "r.example.com/t"}}},
        [],
        ["names no registry"],
    ),
    "a name of its own": (
        {"fullnameOverride": "clip"},
        ["kubectl rollout status deployment/clip -n finetune-system"],
        [],
    ),
}


@pytest.mark.parametrize(("values", "said", "unsaid"), SAID.values(), ids=SAID)
def test_notes_are_true(bare: Cluster, values: Json, said: list[str], unsaid: list[str]) -> None:
    printed = bare.helm("install", RELEASE, CHART, "-n", SYSTEM, "--dry-run=client", "--take-ownership", values=values)
    text = printed.partition("\nNOTES:\n")[2]
    assert [one for one in said if one not in text] == []
    assert [one for one in unsaid if one in text] == []
    assert "kubectl create secret generic finetune-storage" in text
