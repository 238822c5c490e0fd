"""The real API server takes what the chart renders, and its pod security has nothing to say."""

import json

import pytest

from tests.on_cluster.chart.cluster import Cluster
from tests.on_cluster.chart.helm import CHART, Json, Rendered, call, render

ALL_ON: Json = {
    "replicas": 2,
    "image": {"digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "registry-key"}],
    "resources": {"limits": {"cpu": 1}},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "system-cluster-critical",
    "podLabels": {"a": "b"},
    "podAnnotations": {"a": "b"},
    "serviceAccount": {"annotations": {"a": "b"}},
    "networkPolicy": {"create": True},
}
SHAPES: dict[str, tuple[Json, bool]] = {
    "by default": ({}, False),
    "named namespaces": ({}, True),
    "everything, for all": (ALL_ON, False),
    "everything, for named ones": (ALL_ON, True),
    "the longest names": ({**ALL_ON, "fullnameOverride": "n" * 63}, True),
}


def asked(cluster: Cluster, objects: list[Json]) -> str:
    """All that kubectl and the API server tell of objects, had they been applied."""
    done = cluster.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def pod_of(rendered: Rendered) -> Json:
    """The pod that the Deployment would make: only pods are refused by pod security, all else is warned of."""
    template = rendered.one("Deployment")["spec"]["template"]
    namespace = rendered.one("Deployment")["metadata"]["namespace"]
    metadata = {**template["metadata"], "name": "operator", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize(("values", "named"), SHAPES.values(), ids=SHAPES)
def test_each_object_is_accepted_without_a_warning(cluster: Cluster, values: Json, named: bool) -> None:
    with cluster.namespace() as system, cluster.namespace() as team:
        rendered = render({**values, "namespaces": [team] if named else []}, namespace=system)
        assert asked(cluster, rendered.objects) == ""
        account = rendered.one("ServiceAccount")
        cluster.kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account["metadata"]})
        assert asked(cluster, [pod_of(rendered)]) == ""


def test_pod_security_would_speak_up(cluster: Cluster) -> None:
    with cluster.namespace() as system:
        rendered = render(namespace=system)
        del rendered.container["securityContext"]["allowPrivilegeEscalation"]
        assert 'would violate PodSecurity "restricted:latest"' in asked(cluster, rendered.of("Deployment"))


def test_the_dry_run_of_helm_itself_passes(cluster: Cluster) -> None:
    with cluster.namespace() as system:
        words = ("install", "r", CHART, "-n", system, "--set", "crds.install=false")
        done = call(*words, "--dry-run=server", kubeconfig=cluster.kubeconfig)
        assert (done.returncode, done.stderr) == (0, "")
