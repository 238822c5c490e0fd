"""Runs, and the statuses that a kubelet would write of their pods."""

import socket
from datetime import UTC, datetime
from typing import Any

from finetune_sdk.api.run import GROUP, KIND, PLURAL, VERSION
from finetune_sdk.api.status import Artifacts, RunEvaluation
from finetune_sdk.contract import CONTAINER, Ended, Termination

NAMESPACE = "scale"
RUNS = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}"


def a_run(name: str) -> dict[str, Any]:
    """As a person would write it."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {
            "model": {"name": "ViT-B-32-quickgelu", "weights": {"tag": "openai"}},
            "data": {
                "source": {"uri": "s3://datasets/flickr8k/captions.csv", "images": "s3://datasets/flickr8k/images/"}
            },
            "training": {"epochs": 5, "batchSize": 256},
            "output": {"uri": f"s3://models/{name}"},
            "lifecycle": {"ttlSecondsAfterFinished": 86400},
        },
    }


def running_pod(_: Any) -> dict[str, Any]:
    """A pod whose trainer has started."""
    state = {"running": {"startedAt": _now()}}
    return {"phase": "Running", "containerStatuses": [_container(state, ready=True)]}


def ended_pod(pod: Any) -> dict[str, Any]:
    """A pod whose trainer is done, with its result in the termination message."""
    output = pod["metadata"]["labels"]["finetune.dev/run"]
    figures = RunEvaluation(metric="image_retrieval_recall@5", before=0.5, after=0.6, gain=0.1, interval95=[0.05, 0.15])
    result = Ended(evaluation=figures, artifacts=Artifacts(model=f"s3://models/{output}/model/"))
    told = Termination(reason="Succeeded", message="0.5 to 0.6", exit_code=0, result=result)
    state = {
        "terminated": {
            "exitCode": 0,
            "reason": "Completed",
            "message": told.to_bytes().decode(),
            "startedAt": _now(),
            "finishedAt": _now(),
        }
    }
    return {"phase": "Succeeded", "containerStatuses": [_container(state, ready=False)]}


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def _container(state: dict[str, Any], *, ready: bool) -> dict[str, Any]:
    image = {"image": "finetune-trainer", "imageID": "finetune-trainer"}
    return {"name": CONTAINER, "state": state, "ready": ready, "restartCount": 0, "started": ready, **image}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
