"""Real clusters for tests: a control plane alone, and one with a node, MinIO and the operator by its chart."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import images, node, plane
from tests.cluster.binaries import helm
from tests.cluster.plane import NODE_IP
from tests.support.cluster_runs import Bucket, put_tiny_data
from tests.support.minio import run_minio

ROOT = Path(__file__).resolve().parents[2]
CHART, CRD = ROOT / "charts/finetune-operator", ROOT / "crds/finetuneruns.finetune.dev.yaml"
SYSTEM = "finetune-system"
PATIENCE_S = 120.0
Json = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a cluster share a process; the two clusters run side by side."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("plane" if "faults" in str(item.path) else "node"))


@dataclass(frozen=True)
class Kube:
    """kubectl on one cluster."""

    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """A command's output; with `check`, its error is the test's."""
        done = subprocess.run(
            [_kubectl(), *arguments], input=stdin, env=self.env, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout if done.returncode == 0 else done.stderr

    @property
    def env(self) -> dict[str, str]:
        """For programs that read KUBECONFIG."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def apply(self, document: Json, namespace: str | None = None) -> None:
        """Apply one object."""
        place = ["-n", namespace] if namespace else []
        self("apply", *place, "-f", "-", stdin=json.dumps(document))

    def get(self, kind: str, name: str, namespace: str) -> Json:
        """One object."""
        found: Json = json.loads(self("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def items(self, kind: str, namespace: str) -> list[Json]:
        """All objects of a kind."""
        items: list[Json] = json.loads(self("get", kind, "-n", namespace, "-o", "json"))["items"]
        return items


@dataclass(frozen=True)
class Place:
    """A namespace with a bucket's keys in it."""

    kube: Kube
    namespace: str
    bucket: Bucket

    def status(self, run: str) -> Json:
        """A run's status."""
        status: Json = self.kube.get("ftr", run, self.namespace)["status"]
        return status

    def until(self, run: str, reached: Callable[[Json], bool], seconds: float = PATIENCE_S) -> Json:
        """The run's status once `reached`; how all stands where it never is."""
        deadline = time.monotonic() + seconds
        while not reached(status := self.status(run)):
            assert time.monotonic() < deadline, f"not reached:\n{json.dumps(status, indent=2)}\n{self.story()}"
            time.sleep(0.2)
        return status

    def story(self) -> str:
        """What a person would look at."""
        told = self.kube("get", "ftr,jobs,pods,events", "-n", self.namespace, check=False)
        logs = self.kube("logs", "-n", SYSTEM, "deploy/finetune-operator", "--tail", "20", check=False)
        return f"{told}\n{logs}"


def _kubectl() -> str:
    beside = ROOT / ".venv/bin/kubectl"
    return str(beside) if beside.exists() else shutil.which("kubectl") or "kubectl"


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Path]:
    """The kubeconfig of a control plane with the CRD and nothing that runs pods."""
    with tempfile.TemporaryDirectory(prefix="plane-") as folder:
        started = plane.start(Path(folder) / "cluster")
        Kube(started.kubeconfig)("apply", "-f", str(CRD))
        try:
            yield started.kubeconfig
        finally:
            started.parts.kill()


@pytest.fixture(scope="session")
def kube() -> Iterator[Kube]:
    """A cluster with a node and the project's images, the operator installed by its chart."""
    home = Path(tempfile.mkdtemp(prefix="node-"))
    node.make_bridge()
    started = plane.start(home / "cluster", nodes=True)
    try:
        node.start(started)
        for image in (images.OPERATOR, images.TRAINER):
            images.build(image)
            node.load_image(started, image)
        found = Kube(started.kubeconfig)
        install(found)
        yield found
    finally:
        node.stop(started)
        shutil.rmtree(home, ignore_errors=True)


def install(kube: Kube) -> None:
    """helm install, in a namespace that enforces the restricted standard."""
    kube("create", "namespace", SYSTEM)
    kube("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
    values = {}
    for key, image in (("image", images.OPERATOR), ("trainer.image", images.TRAINER)):
        values[f"{key}.repository"], _, values[f"{key}.tag"] = image.rpartition(":")
    given = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    command = [str(helm()), "install", "finetune-operator", str(CHART), "-n", SYSTEM, "--wait", "--timeout", "2m"]
    done = subprocess.run([*command, *given], env=kube.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{kube('get', 'pods,events', '-n', SYSTEM, check=False)}"


@pytest.fixture(scope="session")
def storage(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket with tiny data in a real MinIO that pods reach."""
    folder = tmp_path_factory.mktemp("storage")
    with run_minio(folder / "minio", address=NODE_IP) as server:
        client = server.client()
        client.make_bucket("runs")
        bucket = Bucket(client, "runs", server.endpoint, server.access_key, server.secret_key)
        put_tiny_data(bucket, folder / "data")
        yield bucket


@pytest.fixture
def place(kube: Kube, storage: Bucket) -> Iterator[Place]:
    """A namespace of its own that enforces the restricted standard."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    kube("create", "namespace", name)
    kube("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    kube.apply(storage.secret(), name)
    yield Place(kube, name, storage)
    kube("delete", "namespace", name, "--wait=false")
