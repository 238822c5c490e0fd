"""What scenarios do with runs: start them, change them, look at their pods, and tell the stand-in to end."""

import hashlib
import json
from typing import Any
from urllib.parse import quote

from kubernetes.client import ApiException

from tests.on_cluster.conftest import Json, Place
from tests.support.cluster_runs import stand_in_run, tiny_run

SLOW: Json = {
    "training": {"steps": 150, "batchSize": 16, "optimizer": {"learningRate": 1.0e-3}},
    "checkpoints": {"everySteps": 10},
}
"""Long enough to be disturbed between two checkpoints."""


def finished(status: Json) -> bool:
    """Whether the run is over."""
    return status["state"] in ("Succeeded", "Failed")


def running(status: Json) -> bool:
    """Whether the trainer works."""
    return bool(status["state"] == "Running")


def is_in(state: str, reason: str) -> Any:
    """For Place.until."""
    return lambda status: (status["state"], status["reason"]) == (state, reason)


def start(place: Place, name: str, **spec: Any) -> None:
    """Apply a run of the real trainer; its output lies at NAMESPACE/NAME unless `output` says where."""
    output = spec.pop("output", f"{place.namespace}/{name}")
    place.kube.apply(tiny_run(place.bucket.name, name, output=output, **spec), place.namespace)


def start_stand_in(place: Place, name: str, /, compute: Json | None = None, **script: Any) -> None:
    """Apply a run of the stand-in that does as `script` says; its key `spec` replaces sections of the spec."""
    spec = script.pop("spec", {})
    run = stand_in_run(place.bucket.name, name, script, compute=compute, **spec)
    place.kube.apply(run, place.namespace)


def change(place: Place, name: str, **spec: Any) -> None:
    """Patch a run's spec."""
    body = json.dumps({"spec": spec})
    place.kube("patch", "ftr", name, "-n", place.namespace, "--type=merge", "-p", body)


def pods_of(place: Place, name: str) -> list[Json]:
    """A run's pods, the oldest first."""
    pods: list[Json] = place.kube.read(f"/api/v1/namespaces/{place.namespace}/pods")["items"]
    own = [pod for pod in pods if pod["metadata"]["labels"].get("finetune.dev/run") == name]
    return sorted(own, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def living_pods(place: Place, name: str) -> list[Json]:
    """Those that have not ended."""
    return [pod for pod in pods_of(place, name) if pod["status"]["phase"] not in ("Succeeded", "Failed")]


class NoPod(Exception):
    """No pod of the run lives."""


def through(place: Place, name: str, path: str) -> str:
    """The API server's way to a path of the run's living pod. Raises NoPod."""
    pods = living_pods(place, name)
    if not pods:
        raise NoPod(name)
    (pod,) = pods
    return f"/api/v1/namespaces/{place.namespace}/pods/{pod['metadata']['name']}:8080/proxy{path}"


def tell(place: Place, name: str, **script: Any) -> None:
    """Have the stand-in end now, as `script` says, without lingering for the operator's next look."""
    place.until(name, lambda _: bool(report(place, name)))
    place.kube.read(through(place, name, f"/end?script={quote(json.dumps(script))}"))
    report(place, name)


def report(place: Place, name: str) -> Json:
    """What the trainer says of itself now; empty where it does not answer."""
    try:
        return place.kube.read(through(place, name, "/progress"))
    except (ApiException, NoPod):
        return {}


def execute(place: Place, name: str, *command: str) -> str:
    """A command's output, in the run's living container."""
    (pod,) = living_pods(place, name)
    return place.kube("exec", pod["metadata"]["name"], "-n", place.namespace, "--", *command)


def checkpoints(place: Place, prefix: str) -> list[int]:
    """The steps of whole checkpoints below `prefix`, ascending."""
    keys = place.bucket.keys(f"{prefix}/checkpoints/")
    return sorted(int(key.split("/step-")[1].split("/")[0]) for key in keys if key.endswith("/manifest.json"))


def until_checkpoint(place: Place, name: str) -> int:
    """The step of the run's newest checkpoint, once there is one."""
    place.until(name, lambda _: bool(checkpoints(place, f"{place.namespace}/{name}")))
    return checkpoints(place, f"{place.namespace}/{name}")[-1]


def model_digest(place: Place, name: str) -> str:
    """SHA-256 over the model's weights."""
    prefix = f"{place.namespace}/{name}/model/"
    keys = [key for key in place.bucket.keys(prefix) if key.endswith(".safetensors")]
    assert keys, place.bucket.keys(f"{place.namespace}/{name}/")
    return hashlib.sha256(b"".join(place.bucket.read(key) for key in sorted(keys))).hexdigest()


def conditions(status: Json) -> dict[str, str]:
    """Type to status."""
    return {one["type"]: one["status"] for one in status["conditions"]}


def told(place: Place, reason: str, name: str = "") -> list[Json]:
    """Events of that reason about runs."""
    events = place.kube.items("events", place.namespace)
    mine = [one for one in events if one["involvedObject"]["kind"] == "FinetuneRun" and one["reason"] == reason]
    return [one for one in mine if not name or one["involvedObject"]["name"] == name]


def job_failures(place: Place, name: str) -> int:
    """What Kubernetes counts against the run's retries."""
    failed: int = place.kube.get("job", f"{name}-trainer", place.namespace)["status"].get("failed", 0)
    return failed
