"""Deployment, Service, PodDisruptionBudget, ServiceAccount and CRD as they are rendered."""

from typing import Any

import pytest
from aiohttp import web
from ruamel.yaml import YAML

from finetune_operator.__main__ import command
from finetune_operator.metrics import Metrics
from finetune_operator.server import application
from tests.on_cluster.chart.helm import ROOT, SYSTEM, Json, refusal, render, together
from tests.support.chart_docs import CHART

DIGEST = f"sha256:{'ab' * 32}"
VERSION = YAML(typ="safe").load(CHART / "Chart.yaml")["appVersion"]


def at(document: Any, path: str) -> Any:
    """What lies at a path such as spec.containers.0.image."""
    for name in path.split("."):
        document = document[int(name)] if name.isdigit() else document[name]
    return document


def test_the_operator_meets_the_restricted_standard_and_writes_nowhere() -> None:
    rendered = render()
    assert rendered.pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert rendered.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert not {"volumes", "hostNetwork", "hostPID", "hostIPC"} & rendered.pod.keys()


OPTIONS: dict[str, tuple[str, Json]] = {
    "by default the chart's version of each image": ("--trainer-image=finetune-trainer:" + VERSION, {}),
    "trainer image by tag": ("--trainer-image=finetune-trainer:2", {"trainer": {"image": {"tag": "2"}}}),
    "trainer image by digest before tag": (
        f"--trainer-image=r.example.com:5000/t@{DIGEST}",
        {"trainer": {"image": {"repository": "r.example.com:5000/t", "tag": "2", "digest": DIGEST}}},
    ),
    "CPU": ("--cpu=500m", {"trainer": {"cpu": "500m"}}),
    "CPU as a number": ("--cpu=4", {"trainer": {"cpu": 4}}),
    "memory": ("--memory=32Gi", {"trainer": {"memory": "32Gi"}}),
    "memory in bytes": ("--memory=17179869184", {"trainer": {"memory": 17179869184}}),
    "scratch disk": ("--ephemeral-storage=1Ti", {"trainer": {"ephemeralStorage": "1Ti"}}),
    "shared memory": ("--shared-memory=8Gi", {"trainer": {"sharedMemory": "8Gi"}}),
    "the lease lies beside the operator": (f"--lease-namespace={SYSTEM}", {}),
    "log level": ("--log-level=debug", {"logLevel": "debug"}),
    "namespaces": ("--namespace=team-b", {"namespaces": ["team-a", "team-b"]}),
}


@pytest.mark.parametrize(("option", "values"), OPTIONS.values(), ids=OPTIONS)
def test_the_operator_is_told(option: str, values: Json) -> None:
    arguments = render(values).container["args"]
    assert option in arguments
    command.make_context("finetune-operator", list(arguments))  # raises where the operator knows no such option


def test_all_namespaces_are_none_by_name() -> None:
    assert not [one for one in render().container["args"] if one.startswith("--namespace")]


TOLERATION = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM]}}}
POD = "spec.template.spec"
PASSED: dict[str, tuple[str, object, str, object]] = {
    "image by digest": ("image.digest", DIGEST, f"{POD}.containers.0.image", f"finetune-operator@{DIGEST}"),
    "pull policy": ("image.pullPolicy", "Always", f"{POD}.containers.0.imagePullPolicy", "Always"),
    "pull secrets": ("imagePullSecrets", [{"name": "key"}], f"{POD}.imagePullSecrets", [{"name": "key"}]),
    "replicas": ("replicas", 3, "spec.replicas", 3),
    "resources": (
        "resources.limits",
        {"cpu": 1},
        f"{POD}.containers.0.resources.limits",
        {"cpu": 1, "memory": "512Mi"},
    ),
    "node selector": ("nodeSelector", {"disk": "ssd"}, f"{POD}.nodeSelector", {"disk": "ssd"}),
    "tolerations": ("tolerations", [TOLERATION], f"{POD}.tolerations", [TOLERATION]),
    "affinity": ("affinity", AFFINITY, f"{POD}.affinity", AFFINITY),
    "priority class": ("priorityClassName", "high", f"{POD}.priorityClassName", "high"),
    "annotations": ("podAnnotations", {"a": "b"}, "spec.template.metadata.annotations", {"a": "b"}),
    "labels": ("podLabels", {"team": "ml"}, "spec.template.metadata.labels.team", "ml"),
}


@pytest.mark.parametrize(("_path", "_value", "where", "expected"), PASSED.values(), ids=PASSED)
def test_a_value_reaches_the_deployment(_path: str, _value: object, where: str, expected: object) -> None:
    (all_of_them,) = together((path, value) for path, value, _, _ in PASSED.values())
    assert at(render(all_of_them).one("Deployment"), where) == expected


def test_nobody_runs_for_a_while() -> None:
    assert render({"replicas": 0}).one("Deployment")["spec"]["replicas"] == 0


def test_digest_goes_before_tag() -> None:
    assert render({"image": {"tag": "7"}}).container["image"] == "finetune-operator:7"
    assert render({"image": {"tag": "7", "digest": DIGEST}}).container["image"] == f"finetune-operator@{DIGEST}"


def test_null_takes_away_what_may_be_absent() -> None:
    empty = ["podLabels", "podAnnotations", "affinity", "nodeSelector", "tolerations", "namespaces", "imagePullSecrets"]
    assert render(dict.fromkeys(empty)).objects == render().objects
    assert "repository" in refusal({"image": {"repository": None}})


def test_pods_stay_with_their_deployment_whatever_labels_are_given() -> None:
    mine = {"app.kubernetes.io/name": "mine", "app.kubernetes.io/instance": "mine"}
    deployment = render({"podLabels": mine}).one("Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert "mine" not in deployment["spec"]["selector"]["matchLabels"].values()


def test_probes_ask_what_the_operator_serves_and_the_service_leads_to_its_metrics() -> None:
    app = application(Metrics(), lambda: "", lambda: "")
    served = {route.resource.canonical for route in app.router.routes() if isinstance(route.resource, web.Resource)}
    rendered = render()
    container, service = rendered.container, rendered.one("Service")
    probes = {one: container[f"{one}Probe"]["httpGet"] for one in ("startup", "liveness", "readiness")}
    assert {one: asked["path"] for one, asked in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {"/healthz", "/readyz", "/metrics"} <= served
    (port,) = container["ports"]
    assert {asked["port"] for asked in probes.values()} == {port["name"]}
    assert (port["containerPort"], service["spec"]["ports"][0]["targetPort"]) == (8080, port["name"])
    assert service["spec"]["selector"] == rendered.one("Deployment")["spec"]["selector"]["matchLabels"]


def test_one_operator_has_no_budget_that_would_hold_up_a_drain() -> None:
    rendered = render()
    assert not rendered.of("PodDisruptionBudget")
    assert "topologySpreadConstraints" not in rendered.pod


def test_two_operators_are_spread_and_one_of_them_stays() -> None:
    rendered = render({"replicas": 2})
    labels = rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    budget = rendered.one("PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["selector"]["matchLabels"]) == (1, labels)
    (spread,) = rendered.pod["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert spread["labelSelector"]["matchLabels"] == labels


def test_only_the_operators_pod_gets_the_accounts_token() -> None:
    rendered = render()
    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert rendered.pod["automountServiceAccountToken"] is True
    assert rendered.pod["serviceAccountName"] == rendered.one("ServiceAccount")["metadata"]["name"]


def test_an_account_of_somebody_elses_is_bound_and_not_made() -> None:
    rendered = render({"serviceAccount": {"create": False, "name": "theirs"}})
    assert not rendered.of("ServiceAccount")
    assert rendered.pod["serviceAccountName"] == "theirs"
    bindings = rendered.of("RoleBinding") + rendered.of("ClusterRoleBinding")
    assert {subject["name"] for binding in bindings for subject in binding["subjects"]} == {"theirs"}


def test_an_account_can_be_named_and_annotated() -> None:
    account = render({"serviceAccount": {"name": "mine", "annotations": {"a": "b"}}}).one("ServiceAccount")
    assert (account["metadata"]["name"], account["metadata"]["annotations"]) == ("mine", {"a": "b"})


def test_no_service_when_switched_off() -> None:
    assert not render({"service": {"create": False}}).of("Service")


def test_the_crd_is_the_projects_own_and_kept() -> None:
    crd = render().one("CustomResourceDefinition")
    own = YAML(typ="safe").load(ROOT / "crds/finetuneruns.finetune.dev.yaml")
    assert crd["spec"] == own["spec"]
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_no_crd_when_switched_off() -> None:
    assert not render({"crds": {"install": False}}).of("CustomResourceDefinition")


def test_every_object_says_whose_it_is() -> None:
    rendered = render({"replicas": 2, "networkPolicy": {"create": True}, "namespaces": ["team-a"]})
    for one in rendered.objects:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "finetune-operator", one["kind"]
        assert labels["helm.sh/chart"] == f"finetune-operator-{VERSION}", one["kind"]
