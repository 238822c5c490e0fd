"""A control plane of these tests' own: here the CRD comes and goes with releases of the chart."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import plane
from tests.on_cluster.chart.cluster import Cluster


@pytest.fixture(scope="session")
def bare() -> Iterator[Cluster]:
    """Nothing installed, nothing that runs pods, and no scheduler that would say so of each."""
    with tempfile.TemporaryDirectory(prefix="chart-") as folder:
        started = plane.start(Path(folder) / "cluster")
        try:
            started.parts.kill("kube-scheduler")
            yield Cluster(started.kubeconfig)
        finally:
            started.parts.kill()


@pytest.fixture
def without_crd(bare: Cluster) -> Cluster:
    """A cluster that does not know runs."""
    bare.kube("delete", "crd", "finetuneruns.finetune.dev", "--ignore-not-found")
    return bare


@pytest.fixture
def cluster(bare: Cluster) -> Cluster:
    """A cluster that knows runs; releases are installed with crds.install=false."""
    bare.kube.learn_of_runs()
    return bare
