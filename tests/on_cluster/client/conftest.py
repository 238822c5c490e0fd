"""A real API server without an operator, real MinIO, and a stand-in that writes status and objects as both would."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import CustomObjectsApi

from finetune_sdk.api.reasons import State
from finetune_sdk.api.run import GROUP, PLURAL, VERSION, FinetuneRun
from finetune_sdk.api.status import FinetuneRunStatus, PodRef, ProgressStage, RunProgress
from finetune_sdk.client import RunClient, StorageKeys, course
from finetune_sdk.client.artifacts import Owner
from finetune_sdk.client.connect import connect
from finetune_sdk.storage import Store, open_store
from tests.on_cluster.conftest import Kube
from tests.support.minio import S3Server, run_minio


@dataclass
class StandIn:
    """Writes status as the operator does, and objects as a trainer does."""

    runs: RunClient
    kubeconfig: Path
    storage: S3Server
    _api: CustomObjectsApi = field(init=False)

    def __post_init__(self) -> None:
        self._api = CustomObjectsApi(connect(self.kubeconfig).client)

    def move(self, name: str, state: State, reason: str = "", message: str = "") -> FinetuneRun:
        run = self.runs.get(name)
        return self.write(run, course.moved(run, _now(), state, reason, message))

    def progress(self, name: str, *, stage: ProgressStage = "train", percent: float | None = None) -> FinetuneRun:
        run = self.runs.get(name)
        told = RunProgress(stage=stage, percent=percent, summary=f"{stage} {percent or 0:.0f}%", updated_at=_now())
        pod = PodRef(name=f"{name}-trainer-x", uid=str(uuid.uuid4()), started_at=_now())
        return self.write(run, course.running(run, _now(), pod, told))

    def succeed(self, name: str, *, before: float, after: float) -> FinetuneRun:
        run = self.runs.get(name)
        self.store(run, {"result.json": b"{}", "report.html": b"<!doctype html>\n", "model/weights": b"weights"})
        return self.write(run, course.succeeded(run, _now(), before=before, after=after))

    def fail(self, name: str, reason: str, message: str = "") -> FinetuneRun:
        run = self.runs.get(name)
        return self.write(run, course.failed(run, _now(), reason, message))

    def store(self, run: FinetuneRun, objects: dict[str, bytes]) -> None:
        """As a trainer of this run leaves them."""
        store = open_store(run.spec.output.uri, self.storage.credentials)
        owner = Owner(run=run.metadata.uid or "", process="pod", epoch=1, since=_now())
        store.write("owner.json", owner.model_dump_json(by_alias=True).encode())
        store.write("run.json", b"{}")
        for key, data in objects.items():
            store.write(key, data)

    def write(self, run: FinetuneRun, status: FinetuneRunStatus) -> FinetuneRun:
        place = (GROUP, VERSION, run.metadata.namespace or "", PLURAL, run.metadata.name)
        document: Any = self._api.get_namespaced_custom_object(*place)
        document["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        self._api.replace_namespaced_custom_object_status(*place, document)
        return self.runs.get(run.metadata.name)


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """MinIO with the bucket `runs`."""
    with run_minio(tmp_path_factory.mktemp("storage")) as server:
        server.make_bucket("runs")
        yield server


@pytest.fixture
def kube(control_plane: Path) -> Kube:
    """kubectl on the control plane."""
    return Kube(control_plane)


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """One of its own."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    kube("create", "namespace", name)
    yield name
    kube("delete", "namespace", name, "--wait=false")


@pytest.fixture
def bare_runs(control_plane: Path, namespace: str) -> Iterator[RunClient]:
    """A client of a namespace without a Secret."""
    with RunClient(kubeconfig=control_plane, namespace=namespace) as client:
        yield client


@pytest.fixture
def runs(bare_runs: RunClient, storage: S3Server) -> RunClient:
    """A client of a namespace with storage's keys."""
    bare_runs.create_storage(StorageKeys(storage.endpoint, storage.access_key, storage.secret_key))
    return bare_runs


@pytest.fixture
def operator(runs: RunClient, control_plane: Path, storage: S3Server) -> StandIn:
    """Who moves runs along."""
    return StandIn(runs, control_plane, storage)


@pytest.fixture
def store_of(storage: S3Server) -> Callable[[str], Store]:
    """Stored objects, behind the client's back."""
    return lambda uri: open_store(uri, storage.credentials)


@pytest.fixture
def output(namespace: str) -> str:
    """An output of the test's own."""
    return f"s3://runs/{namespace}/output"
