"""What a node does to pods, played: all run and are ready; a trainer ends well once its run is seen Running."""

import contextlib
import threading
from collections.abc import Iterator

import requests

from finetune_sdk.api.status import Artifacts, RunEvaluation
from finetune_sdk.contract import RUN_LABEL, Ended, Termination
from tests.on_cluster.chart.cluster import Cluster
from tests.on_cluster.faults.api import RUNS, ControlPlane, Json
from tests.on_cluster.faults.world import ended

FIGURES = RunEvaluation(metric="image_retrieval_recall@5", before=0.5, after=0.6, gain=0.1, interval95=[0.05, 0.15])
ARTIFACTS = Artifacts(model="s3://models/r/model/", report="s3://models/r/report.html")
DONE = Termination(
    reason="Succeeded", message="0.5 to 0.6", exit_code=0, result=Ended(evaluation=FIGURES, artifacts=ARTIFACTS)
)


def a_run(spec: Json | None = None, name: str = "r") -> Json:
    """A run as a person would write it; `spec` adds to it."""
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FinetuneRun",
        "metadata": {"name": name},
        "spec": {
            "model": {"name": "ViT-B-32-quickgelu", "weights": {"tag": "openai"}},
            "data": {"source": {"uri": "s3://datasets/captions.csv"}},
            "output": {"uri": f"s3://models/{name}/"},
            **(spec or {}),
        },
    }


@contextlib.contextmanager
def played(cluster: Cluster) -> Iterator[None]:
    """For the time of the block, in all namespaces."""
    stop = threading.Event()
    thread = threading.Thread(target=_play, args=(cluster.api, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _play(api: ControlPlane, stop: threading.Event) -> None:
    while not stop.wait(0.1):
        with contextlib.suppress(requests.RequestException):
            for pod in api.items("/api/v1/pods"):
                _round(api, pod)


def _round(api: ControlPlane, pod: Json) -> None:
    namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels", {})
    path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
    phase = pod["status"].get("phase")
    if "deletionTimestamp" in pod["metadata"]:
        api.call("DELETE", path, {"gracePeriodSeconds": 0})
    elif phase == "Pending":
        api.call("PATCH", f"{path}/status", {"status": _running(pod)})
    elif phase == "Running" and (run := labels.get(RUN_LABEL)):
        status = api.call("GET", f"{RUNS}/namespaces/{namespace}/finetuneruns/{run}")["status"]
        if status["state"] == "Running":
            api.call("PATCH", f"{path}/status", {"status": ended(DONE)})


def _running(pod: Json) -> Json:
    names = [one["name"] for one in pod["spec"]["containers"]]
    started = {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}}
    containers = [
        {"name": name, "state": started, "ready": True, "restartCount": 0, "image": "i", "imageID": "i"}
        for name in names
    ]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": pod["metadata"]["creationTimestamp"]}
    return {"phase": "Running", "conditions": [ready], "containerStatuses": containers}
