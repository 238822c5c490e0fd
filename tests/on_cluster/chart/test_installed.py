"""Releases of the chart come, are upgraded and go; the CRD and the runs stay."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.on_cluster.chart import helm
from tests.on_cluster.chart.cluster import PATIENCE_SECONDS, Cluster
from tests.on_cluster.chart.helm import CHART, RELEASE, Json
from tests.on_cluster.chart.played import a_run, played
from tests.on_cluster.faults.api import until
from tests.support.processes import wait_until

CRD = "finetuneruns.finetune.dev"


def crd(cluster: Cluster) -> Json:
    found: Json = json.loads(cluster.kube("get", "crd", CRD, "-o", "json"))
    return found


def has_run(cluster: Cluster, namespace: str) -> bool:
    return bool(cluster.kube.items("finetuneruns", namespace))


def install(cluster: Cluster, namespace: str, name: str = RELEASE, **values: Any) -> str:
    return cluster.helm("install", name, CHART, "-n", namespace, values=values)


def test_uninstalling_leaves_crd_and_runs_and_installing_again_takes_them_over(without_crd: Cluster) -> None:
    cluster = without_crd
    with cluster.namespace() as system, cluster.namespace() as team:
        install(cluster, system)
        wait_until(lambda: "Established" in json.dumps(crd(cluster)["status"]), "the CRD", PATIENCE_SECONDS)
        cluster.kube.apply(a_run(), team)
        cluster.helm("uninstall", RELEASE, "-n", system)
        assert has_run(cluster, team)
        assert cluster.kube.items("deployments,services,serviceaccounts,roles", system) == left_by_kubernetes(
            cluster, system
        )
        install(cluster, system)
        assert has_run(cluster, team)
        cluster.helm("uninstall", RELEASE, "-n", system)


def left_by_kubernetes(cluster: Cluster, namespace: str) -> list[Json]:
    """The namespace's default service account."""
    return [cluster.kube.get("serviceaccount", "default", namespace)]


def test_switching_the_crd_off_leaves_it_and_the_runs(without_crd: Cluster) -> None:
    cluster = without_crd
    with cluster.namespace() as system, cluster.namespace() as team:
        install(cluster, system)
        wait_until(lambda: "Established" in json.dumps(crd(cluster)["status"]), "the CRD", PATIENCE_SECONDS)
        cluster.kube.apply(a_run(), team)
        cluster.helm("upgrade", RELEASE, CHART, "-n", system, values={"crds": {"install": False}})
        assert has_run(cluster, team)
        cluster.helm("uninstall", RELEASE, "-n", system)
        assert has_run(cluster, team)


def test_an_upgrade_brings_the_crd_up_to_date(without_crd: Cluster, tmp_path: Path) -> None:
    """A chart of an older version, whose CRD lacks a column, is upgraded to this one."""
    cluster, older = without_crd, tmp_path / "finetune-operator"
    shutil.copytree(CHART, older)
    yaml = YAML(typ="safe")
    document = yaml.load(older / "files/crd.yaml")
    columns = document["spec"]["versions"][0]["additionalPrinterColumns"]
    del columns[0]
    yaml.dump(document, older / "files/crd.yaml")
    with cluster.namespace() as system:
        cluster.helm("install", RELEASE, older, "-n", system)
        assert len(crd(cluster)["spec"]["versions"][0]["additionalPrinterColumns"]) == len(columns)
        cluster.helm("upgrade", RELEASE, CHART, "-n", system)
        assert len(crd(cluster)["spec"]["versions"][0]["additionalPrinterColumns"]) == len(columns) + 1
        cluster.helm("uninstall", RELEASE, "-n", system)


def test_an_upgrade_changes_what_was_set(cluster: Cluster) -> None:
    with cluster.namespace() as system, cluster.namespace() as team, cluster.release(system):
        values = {"crds": {"install": False}, "replicas": 2, "namespaces": [team], "trainer": {"cpu": 4}}
        cluster.helm("upgrade", RELEASE, CHART, "-n", system, values=values)
        deployment = cluster.kube.get("deployment", RELEASE, system)
        assert deployment["spec"]["replicas"] == 2
        assert f"--namespace={team}" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        assert cluster.kube.get("poddisruptionbudget", RELEASE, system)["spec"]["maxUnavailable"] == 1
        assert f"{system}:{RELEASE}" not in cluster.kube("get", "clusterroles", "-o", "name").split("/")


def test_a_second_release_looks_after_other_namespaces(cluster: Cluster) -> None:
    with (
        cluster.namespace() as first,
        cluster.namespace() as second,
        cluster.namespace() as team_a,
        cluster.namespace() as team_b,
        cluster.release(first, {"namespaces": [team_a]}),
    ):
        with cluster.release(second, {"namespaces": [team_b]}):
            for system, team, other in ((first, team_a, team_b), (second, team_b, team_a)):
                user = f"system:serviceaccount:{system}:{RELEASE}"
                assert cluster.may(user, "create", "batch", "jobs", team)
                assert not cluster.may(user, "create", "batch", "jobs", other)
        user = f"system:serviceaccount:{first}:{RELEASE}"
        assert cluster.may(user, "create", "batch", "jobs", team_a), "the second took the first one's rights along"
        roles = cluster.kube("get", "clusterroles", "-o", "name")
        assert f"{first}:{RELEASE}:edit" in roles
        assert f"{second}:{RELEASE}:edit" not in roles


def test_a_second_release_in_the_same_namespace_is_refused(cluster: Cluster) -> None:
    with cluster.namespace() as system, cluster.release(system):
        words = ("install", "other", CHART, "-n", system, "--set", "crds.install=false")
        done = helm.call(*words, kubeconfig=cluster.kubeconfig)
        assert f"the release {RELEASE} has an operator in the namespace {system}" in done.stderr
        assert "install into another namespace, or raise replicas" in done.stderr


@pytest.mark.parametrize("named", [False, True], ids=["all namespaces", "named ones"])
def test_the_rights_are_enough_for_a_whole_run(cluster: Cluster, tmp_path: Path, named: bool) -> None:
    """The installed release's operator, as its service account: nothing that it asks for is forbidden."""
    with cluster.namespace() as system, cluster.namespace() as team:
        values = {"namespaces": [team] if named else []}
        with cluster.release(system, values), cluster.operator(system, tmp_path) as log, played(cluster):
            cluster.kube.apply(a_run(), team)

            def status() -> Json:
                found: Json = cluster.kube.get("finetunerun", "r", team)["status"]
                return found

            until(
                lambda: status()["state"] == "Succeeded",
                PATIENCE_SECONDS,
                lambda: f"{status()}\n{log.read_text()[-4000:]}",
            )
            reasons = {event["reason"] for event in cluster.kube.items("events", team)}
        assert "Succeeded" in reasons
        assert "forbidden" not in log.read_text()
