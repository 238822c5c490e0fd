"""Real clusters for tests: a control plane alone, and one with a node, MinIO and the operator by its chart."""

import fcntl
import json
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from tests.cluster import plane
from tests.cluster.lab import SYSTEM, Lab, at, elsewhere, kubectl, shared
from tests.support.cluster_runs import Bucket, put_tiny_data

ROOT = Path(__file__).resolve().parents[2]
CRD = ROOT / "crds/finetuneruns.finetune.dev.yaml"
PATIENCE_S = 300.0
_CONDITIONS = "go-template={{range .status.conditions}}{{.type}}={{.status}} {{end}}"
Json = dict[str, Any]
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
"""The same for all processes of a test run."""

HERE = Path(__file__).resolve().parent
SIDE_BY_SIDE = "node"
"""The folder whose tests share one cluster, each in a namespace of its own; every other folder is one process's."""
COMPUTES = "crd"
"""The folder whose tests keep one core busy and wait for nothing."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks, also where this folder is named on the command line
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a folder share a control plane and so a process, but for those that run side by side."""
    for item in items:
        if (folder := _folder(item)) and folder != SIDE_BY_SIDE:
            item.add_marker(pytest.mark.xdist_group(folder))
    items.sort(key=_turn)


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""


def _turn(item: pytest.Item) -> int:
    """Scenarios that need the node's operator for themselves come last, beside what computes for minutes alone."""
    if "alone" in getattr(item, "fixturenames", ()):
        return 2
    return 1 if _folder(item) == COMPUTES else 0


@dataclass(frozen=True)
class Kube:
    """kubectl on one cluster."""

    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """A command's output; with `check`, its error is the test's."""
        done = subprocess.run(
            [kubectl(), *arguments], input=stdin, env=self.env, capture_output=True, text=True, check=False
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

    def learn_of_runs(self) -> None:
        """Apply the CRD, and wait until runs are known. `kubectl wait` fails on one too new to have conditions."""
        self("apply", "-f", str(CRD))
        deadline = time.monotonic() + PATIENCE_S
        while "Established=True" not in self("get", "-f", str(CRD), "-o", _CONDITIONS):
            assert time.monotonic() < deadline, self("get", "-f", str(CRD), "-o", "yaml")
            time.sleep(0.1)

    def items(self, kind: str, namespace: str) -> list[Json]:
        """All objects of a kind."""
        items: list[Json] = json.loads(self("get", kind, "-n", namespace, "-o", "json"))["items"]
        return items

    def read(self, path: str) -> Json:
        """The API server's answer, by a connection that stays open: for what is asked for again and again.

        Raises ApiException where it is an error.
        """
        asked = self._client.param_serialize("GET", path, auth_settings=["BearerToken"])
        answer = self._client.call_api(*asked)
        body: bytes = answer.read()
        if answer.status != 200:
            raise client.ApiException(http_resp=answer)
        read: Json = json.loads(body)
        return read

    @cached_property
    def _client(self) -> client.ApiClient:
        made: client.ApiClient = config.new_client_from_config(str(self.kubeconfig))
        return made


@dataclass(frozen=True)
class Place:
    """A namespace with a bucket's keys in it."""

    kube: Kube
    namespace: str
    bucket: Bucket

    def status(self, run: str) -> Json:
        """A run's status."""
        path = f"/apis/finetune.dev/v1alpha1/namespaces/{self.namespace}/finetuneruns/{run}"
        status: Json = self.kube.read(path)["status"]
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


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Path]:
    """The kubeconfig of a control plane with the CRD and nothing that runs pods."""
    with tempfile.TemporaryDirectory(prefix="plane-") as folder:
        started = plane.start(Path(folder) / "cluster")
        kube = Kube(started.kubeconfig)
        try:
            kube.learn_of_runs()
            yield started.kubeconfig
        finally:
            started.parts.kill()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A cluster with a node, MinIO, the project's images, and the operator installed by its chart.

    One for all test processes; or the one that FINETUNE_TEST_CLUSTER (a folder of `make cluster`) or
    FINETUNE_TEST_KUBECONFIG (anybody's, with the AWS variables for its storage) leads to, which is left up.
    """
    if folder := os.environ.get("FINETUNE_TEST_CLUSTER"):
        yield at(Path(folder))
    elif kubeconfig := os.environ.get("FINETUNE_TEST_KUBECONFIG"):
        yield elsewhere(Path(kubeconfig))
    else:
        with shared(Path(tempfile.gettempdir()) / f"lab-{RUN[:8]}") as made:
            yield made


@pytest.fixture(scope="session")
def kube(lab: Lab) -> Kube:
    """kubectl on the lab's cluster."""
    return Kube(lab.kubeconfig)


@pytest.fixture(scope="session")
def storage(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Bucket:
    """A bucket with tiny data in the lab's MinIO, which pods reach; one for all test processes."""
    client, name = lab.storage.client(), f"runs-{RUN[:8]}"
    bucket = Bucket(client, name, lab.storage.endpoint, lab.storage.access_key, lab.storage.secret_key)
    with (Path(tempfile.gettempdir()) / "finetune-test-data.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not client.bucket_exists(name):
            client.make_bucket(name)
            put_tiny_data(bucket, tmp_path_factory.mktemp("storage") / "data")
    return bucket


@pytest.fixture
def place(kube: Kube, storage: Bucket) -> Iterator[Place]:
    """A namespace of its own that enforces the restricted standard."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    kube("create", "namespace", name)
    kube("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    kube.apply(storage.secret(), name)
    yield Place(kube, name, storage)
    kube("delete", "namespace", name, "--wait=false")
