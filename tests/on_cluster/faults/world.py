"""One namespace with a run in it, an operator that can be killed, and a kubelet that is played."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import requests

from finetune_sdk.api.status import Artifacts, RunEvaluation
from finetune_sdk.contract import CONTAINER, RUN_LABEL, Ended, Termination
from tests.on_cluster.faults.api import LEASE, RUNS, ControlPlane, Json, until
from tests.on_cluster.faults.proxy import Proxy

CONVERGES_SECONDS = 120.0
NAME = "r"


@dataclass
class World:
    """`proxy` stands between the operators and the API server."""

    plane: ControlPlane
    proxy: Proxy
    namespace: str
    folder: Path
    operators: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> str:
        """All that the operators have logged."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("operator-*.log")))

    def start(self) -> subprocess.Popen[bytes]:
        """An operator of this namespace, its lease there too."""
        config = self.folder / "kubeconfig"
        config.write_text(json.dumps(_kubeconfig(self.proxy.endpoint, self.plane.token)))
        with (self.folder / f"operator-{len(self.operators):02d}.log").open("wb") as log:
            operator = self._popen(config, log)
        self.operators.append(operator)
        return operator

    def _popen(self, config: Path, log: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "finetune_operator", "-n", self.namespace, "--lease-namespace", self.namespace,
             "--http-port", "0", "--trainer-image", "trainer:1"],
            stderr=log,
            env={**os.environ, "KUBECONFIG": str(config), "FINETUNE_OPERATOR_LOG_LEVEL": "debug"},
        )  # fmt: skip

    def start_anew(self) -> subprocess.Popen[bytes]:
        """An operator that need not wait for a dead one's lease."""
        with contextlib.suppress(requests.HTTPError):
            self.plane.call("DELETE", LEASE.format(self.namespace))
        return self.start()

    def stop(self) -> None:
        """Kill every operator."""
        for operator in self.operators:
            operator.send_signal(signal.SIGCONT)
            operator.kill()
            operator.wait()

    def path(self, group: str, plural: str, name: str = "") -> str:
        """Of something in the namespace."""
        return f"{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def apply(self, name: str = NAME, **spec: object) -> None:
        """A run, as a person would apply it."""
        body = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneRun", "metadata": {"name": name}}
        self.plane.call("POST", self.path(RUNS, "finetuneruns"), {**body, "spec": {**_spec(), **spec}})

    def change(self, name: str = NAME, **spec: object) -> None:
        """Patch the run's spec."""
        self.plane.call("PATCH", self.path(RUNS, "finetuneruns", name), {"spec": spec})

    def status(self, name: str = NAME) -> Json:
        """The run's."""
        status: Json = self.plane.call("GET", self.path(RUNS, "finetuneruns", name))["status"]
        return status

    def jobs(self) -> list[Json]:
        """Of the namespace."""
        return self.plane.items(self.path("/apis/batch/v1", "jobs"))

    def pods(self) -> list[Json]:
        """Of the namespace."""
        return self.plane.items(self.path("/api/v1", "pods"))

    def told(self, name: str = NAME) -> Counter[str]:
        """The operator's Events on the run, by reason; `count` of each."""
        events = self.plane.items(self.path("/api/v1", "events"))
        return Counter(
            event["reason"]
            for event in events
            for _ in range(event.get("count") or 1)
            if event["involvedObject"]["kind"] == "FinetuneRun" and event["involvedObject"]["name"] == name
        )

    def until_state(self, state: str, name: str = NAME, seconds: float = CONVERGES_SECONDS) -> Json:
        """The status once its state is `state`."""
        until(lambda: self.status(name)["state"] == state, seconds, lambda: f"{self.status(name)}\n{self.log[-4000:]}")
        return self.status(name)


class Kubelet:
    """Plays what a node does to pods: they run; once their run is seen Running they end well."""

    def __init__(self, world: World, *, ends: bool = True) -> None:
        self._world = world
        self.ends = ends
        """Whether pods of a run that is Running end."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> "Kubelet":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _play(self) -> None:
        while not self._stop.wait(0.05):
            with contextlib.suppress(requests.RequestException):
                for pod in self._world.pods():
                    self._round(pod)

    def _round(self, pod: Json) -> None:
        phase, path = pod["status"].get("phase"), self._world.path("/api/v1", "pods", pod["metadata"]["name"])
        if "deletionTimestamp" in pod["metadata"]:
            self._world.plane.call("DELETE", path, {"gracePeriodSeconds": 0})
        elif phase == "Pending":
            self._world.plane.call("PATCH", f"{path}/status", {"status": _running()})
        elif phase == "Running" and self.ends:
            status = self._world.status(pod["metadata"]["labels"][RUN_LABEL])
            if status["state"] == "Running":
                self._world.plane.call("PATCH", f"{path}/status", {"status": ended(_termination())})


@contextlib.contextmanager
def a_namespace(plane: ControlPlane) -> Iterator[str]:
    """One of its own; it goes in the background."""
    made = plane.call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "faults-"}})
    name: str = made["metadata"]["name"]
    try:
        yield name
    finally:
        plane.call("DELETE", f"/api/v1/namespaces/{name}")


def ended(told: Termination) -> Json:
    """The status of a pod whose trainer has ended so."""
    state = {"exitCode": told.exit_code, "reason": "Completed" if told.exit_code == 0 else "Error"}
    state |= {"message": told.to_bytes().decode(), "startedAt": _now(), "finishedAt": _now()}
    phase = "Succeeded" if told.exit_code == 0 else "Failed"
    return {"phase": phase, "containerStatuses": [_container({"terminated": state})]}


def _termination() -> Termination:
    figures = RunEvaluation(metric="image_retrieval_recall@5", before=0.5, after=0.6, gain=0.1, interval95=[0.05, 0.15])
    result = Ended(evaluation=figures, artifacts=Artifacts(model="s3://models/r/model/"))
    return Termination(reason="Succeeded", message="0.5 to 0.6", exit_code=0, result=result)


def _running() -> Json:
    return {"phase": "Running", "containerStatuses": [_container({"running": {"startedAt": _now()}})]}


def _container(state: Json) -> Json:
    ready = "running" in state
    return {"name": CONTAINER, "state": state, "ready": ready, "restartCount": 0, "image": "i", "imageID": "i"}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _spec() -> Json:
    return {
        "model": {"name": "ViT-B-32-quickgelu", "weights": {"tag": "openai"}},
        "data": {"source": {"uri": "s3://datasets/captions.csv"}},
        "output": {"uri": "s3://models/r"},
    }


def _kubeconfig(server: str, token: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
    }
