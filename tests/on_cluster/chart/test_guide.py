"""Every command and every YAML block of the pages about clusters, carried out on a real API server."""

import json
from pathlib import Path

import pytest

from tests.on_cluster.chart.cluster import Cluster
from tests.on_cluster.chart.guide import Page, reading
from tests.on_cluster.chart.helm import CHART, RELEASE, ROOT, SYSTEM, Json, render
from tests.on_cluster.chart.played import a_run, played

GUIDE = Page(ROOT / "docs/guides/cluster.md")
SECURITY = Page(ROOT / "docs/guides/security.md")
INSTALLING = {"guide": GUIDE, "README": Page(ROOT / "README.md"), "chart": Page(CHART / "README.md")}


@pytest.mark.parametrize("page", INSTALLING.values(), ids=INSTALLING)
def test_a_page_leads_from_an_empty_cluster_to_where_it_says(without_crd: Cluster, page: Page, tmp_path: Path) -> None:
    commands = page.commands()
    assert any(command.startswith("helm install ") for command in commands)
    with reading(without_crd, page, tmp_path) as reader, played(without_crd):
        for command in commands:
            reader.do(command)


def test_what_the_page_about_security_tells_an_administrator_to_do(cluster: Cluster, tmp_path: Path) -> None:
    install = f"helm install {RELEASE} charts/finetune-operator -n {SYSTEM} --create-namespace --set crds.install=false"
    with reading(cluster, SECURITY, tmp_path) as reader:
        for command in [install, "kubectl create namespace team-a", *SECURITY.commands()]:
            reader.do(command)
        cluster.kube("get", "clusterrole", f"{SYSTEM}:{RELEASE}:edit")
        person = ["--as=alice", "--as-group=team-a", "-n", "team-a"]
        assert cluster.kube("auth", "can-i", "create", "finetuneruns.finetune.dev", *person).strip() == "yes"
        assert cluster.kube("auth", "can-i", "create", "pods", *person, check=False).strip() != "yes"
        cluster.kube("delete", "-f", str(ROOT / "examples/policies/finetuneruns.yaml"))


PIECES = [(page.path.stem, document) for page in (GUIDE, SECURITY) for document in page.documents()]


@pytest.mark.parametrize("piece", [one for _, one in PIECES], ids=[f"{page} {next(iter(one))}" for page, one in PIECES])
def test_a_block_of_yaml_is_taken_where_it_belongs(cluster: Cluster, piece: Json) -> None:
    if "kind" not in piece and "compute" not in piece:
        render(piece)  # values of the chart
        return
    run = piece if "kind" in piece else a_run(piece)
    done = cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(run))
    assert done.returncode == 0, done.stderr
