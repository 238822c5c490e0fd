"""The sample ValidatingAdmissionPolicy on a real API server: what it lets in, and what it refuses by which sentence."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from finetune_sdk.api.compute import Volume
from tests.on_cluster.chart.cluster import PATIENCE_SECONDS, Cluster
from tests.on_cluster.chart.helm import ROOT, Json
from tests.on_cluster.chart.played import a_run
from tests.on_cluster.faults.api import until

POLICY = ROOT / "examples/policies/finetuneruns.yaml"
NAME = "finetuneruns.finetune.dev"
PLAIN = {"configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "secret"}
ENV = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "finetune-env", "key": "hf-token"}}}


@pytest.fixture(scope="module")
def limited(bare: Cluster) -> Iterator[Cluster]:
    """A cluster with the policy, once it is in force."""
    bare.kube.learn_of_runs()
    enforce(bare)
    yield bare
    bare.kube("delete", "-f", str(POLICY))


def enforce(cluster: Cluster) -> None:
    """Apply the policy, and wait until it is in force."""
    cluster.kube("apply", "-f", str(POLICY))
    until(
        lambda: said(cluster, compute={"image": "else/where:1"}), PATIENCE_SECONDS, lambda: "the policy is not in force"
    )


def said(cluster: Cluster, **spec: Any) -> str:
    """What the API server says against a run; nothing where it takes it."""
    text = json.dumps(a_run(spec))
    done = cluster.kubectl("create", "-n", "default", "--dry-run=server", "-f", "-", stdin=text)
    return done.stderr if done.returncode else ""


def volume(source: str, **fields: object) -> Json:
    return {"volumes": [{"name": "v", source: fields}]}


ADMITTED: dict[str, Json] = {
    "a run that asks for nothing": {},
    "an image of the registry": {"compute": {"image": "registry.example.com/ml/trainer:2"}},
    "a service account of the list": {"compute": {"serviceAccountName": "finetune"}},
    "storage keys of the list": {"storage": {"secretRef": {"name": "finetune-storage"}}},
    "a variable from a Secret of the list": {"compute": {"env": [ENV, {"name": "A", "value": "b"}]}},
    "a pull secret of the list": {"compute": {"imagePullSecrets": [{"name": "registry-key"}]}},
    "files of a Secret of the list": {"compute": volume("secret", secretName="finetune-env")},
    "scratch space": {"compute": volume("emptyDir")},
    "a claim": {"compute": volume("persistentVolumeClaim", claimName="data")},
}


@pytest.mark.parametrize("spec", ADMITTED.values(), ids=ADMITTED)
def test_admitted(limited: Cluster, spec: Json) -> None:
    assert said(limited, **spec) == ""


OTHER_KEY = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}}
REFUSED: dict[str, tuple[Json, str]] = {
    "an image from elsewhere": (
        {"compute": {"image": "docker.io/someone/else:1"}},
        "spec.compute.image: docker.io/someone/else:1 does not begin with one of registry.example.com/ml/",
    ),
    "a registry that begins alike": (
        {"compute": {"image": "registry.example.com/mlx/trainer:2"}},
        "spec.compute.image: registry.example.com/mlx/trainer:2 does not begin with one of registry.example.com/ml/",
    ),
    "another service account": (
        {"compute": {"serviceAccountName": "deployer"}},
        "spec.compute.serviceAccountName: deployer is not one of default, finetune",
    ),
    "storage keys by another Secret": (
        {"storage": {"secretRef": {"name": "database"}}},
        "spec names the Secret database; it may name finetune-storage, finetune-env, registry-key",
    ),
    "a variable from another Secret": (
        {"compute": {"env": [OTHER_KEY, ENV]}},
        "spec names the Secret database; it may",
    ),
    "another pull secret": (
        {"compute": {"imagePullSecrets": [{"name": "other"}]}},
        "spec names the Secret other; it may",
    ),
    "files of another Secret": ({"compute": volume("secret", secretName="tls")}, "spec names the Secret tls; it may"),
    "several": (
        {"storage": {"secretRef": {"name": "a"}}, "compute": volume("secret", secretName="b")},
        "spec names the Secret a, b; it may",
    ),
}


@pytest.mark.parametrize(("spec", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(limited: Cluster, spec: Json, message: str) -> None:
    assert message in said(limited, **spec)


SOURCES = sorted({field.alias or name for name, field in Volume.model_fields.items()} - {"name"})


@pytest.mark.parametrize("source", SOURCES)
def test_each_kind_of_volume_is_admitted_or_refused(limited: Cluster, source: str) -> None:
    fields = {"secretName": "finetune-env"} if source == "secret" else {"x": "y"}
    told = said(limited, compute=volume(source, **fields))
    assert ("spec.compute.volumes: v; each is to be a configMap" in told) == (source not in PLAIN), told


def test_runs_from_before_the_policy_can_still_be_suspended_and_deleted(limited: Cluster) -> None:
    outside = {"image": "else/where:1"}
    with limited.namespace() as team:
        limited.kube("delete", "-f", str(POLICY))
        until(lambda: not said(limited, compute=outside), PATIENCE_SECONDS, lambda: "the policy is still in force")
        limited.kube.apply(a_run({"compute": outside}), team)
        enforce(limited)
        limited.kube("patch", "ftr", "r", "-n", team, "--type=merge", "-p", '{"spec": {"suspend": true}}')
        limited.kube("delete", "ftr", "r", "-n", team)


def test_the_api_server_finds_no_mistake_in_its_expressions(limited: Cluster) -> None:
    def status() -> Json:
        path = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{NAME}"
        found: Json = limited.api.call("GET", path).get("status", {})
        return found

    until(lambda: "observedGeneration" in status(), PATIENCE_SECONDS, status)
    assert not status().get("typeChecking", {}).get("expressionWarnings")
