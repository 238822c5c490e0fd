"""Everybody but the operator, played for many runs of one namespace: scheduler, kubelet, and who deletes pods."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from finetune_sdk.contract import CONTAINER, RUN_LABEL, Termination
from tests.on_cluster.faults.api import RUNS, Json, until
from tests.on_cluster.faults.world import World, ended

PATIENCE_S = 120.0
NODES = "/api/v1/nodes"


@dataclass(frozen=True)
class Stage:
    """`node` is one that does not exist but in the API."""

    world: World
    node: str

    def apply(self, name: str, labels: dict[str, str], **spec: object) -> None:
        """A run with labels."""
        metadata = {"name": name, "labels": labels}
        shortest = {
            "model": {"name": "ViT-B-32-quickgelu", "weights": {"tag": "openai"}},
            "data": {"source": {"uri": "s3://datasets/captions.csv"}},
            "output": {"uri": f"s3://models/{name}"},
        }
        body = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneRun", "metadata": metadata}
        self.world.plane.call("POST", self.world.path(RUNS, "finetuneruns"), {**body, "spec": {**shortest, **spec}})

    def is_followed(self, name: str) -> bool:
        """Whether the status speaks of the newest spec."""
        run = self.world.plane.call("GET", self.world.path(RUNS, "finetuneruns", name))
        followed: bool = run["status"]["observedGeneration"] == run["metadata"]["generation"]
        return followed

    def pod(self, name: str) -> Json:
        """The run's pod, once there is one."""

        def look() -> Json | None:
            labelled = f"{self.world.path('/api/v1', 'pods')}?labelSelector={RUN_LABEL}%3D{name}"
            return next(iter(self.world.plane.items(labelled)), None)

        found = until(look, PATIENCE_S, lambda: f"no pod of {name}: {self.world.log[-3000:]}")
        assert found is not None
        return found

    def says(self, name: str, status: Json) -> Json:
        """The kubelet's or the scheduler's word about the run's pod; the pod."""
        pod = self.pod(name)
        return self.world.plane.call("PATCH", f"{self._path(pod)}/status", {"status": status})

    def bind(self, name: str) -> Json:
        """The scheduler finds the node; the pod."""
        pod = self.pod(name)
        target = {"apiVersion": "v1", "kind": "Node", "name": self.node}
        self.world.plane.call(
            "POST", f"{self._path(pod)}/binding", {"target": target, "metadata": {"name": pod["metadata"]["name"]}}
        )
        return self.says(name, {"conditions": [condition("PodScheduled", "True", "", "")]})

    def run(self, name: str) -> Json:
        """The trainer runs on the node, and the operator has seen it; the pod."""
        self.bind(name)
        pod = self.says(name, {"phase": "Running", "containerStatuses": [container({"running": {"startedAt": now()}})]})
        self.world.until_state("Running", name, PATIENCE_S)
        return pod

    def delete(self, pod: Json) -> None:
        """Ask it to end, which on this node it never does."""
        self.world.plane.call("DELETE", self._path(pod))

    def warn(self, pod: Json, reason: str, message: str) -> None:
        """A Warning about the pod."""
        head = {"namespace": self.world.namespace, "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        event = {
            "metadata": {"generateName": "told-"},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", **head},
            "type": "Warning",
            "reason": reason,
            "message": message,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
            "source": {"component": "kubelet"},
        }
        self.world.plane.call("POST", self.world.path("/api/v1", "events"), event)

    def leave_behind(self, name: str) -> None:
        """A pod of an earlier run of the name."""
        head = {
            "name": f"{name}-earlier",
            "labels": {RUN_LABEL: name, "app.kubernetes.io/managed-by": "finetune-operator"},
        }
        spec = {"containers": [{"name": CONTAINER, "image": "i"}]}
        self.world.plane.call("POST", self.world.path("/api/v1", "pods"), {"metadata": head, "spec": spec})

    def _path(self, pod: Json) -> str:
        return self.world.path("/api/v1", "pods", pod["metadata"]["name"])


Play = Callable[[Stage, str], object]
"""What happens to the run of that name once it is applied."""


def nothing(_: Stage, __: str) -> None:
    """The operator alone has its say."""


def condition(kind: str, status: str, reason: str, message: str) -> Json:
    """Of a pod. Without its time Kubernetes takes a DisruptionTarget for an old one, and sets it to False."""
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now()}


def container(state: Json) -> Json:
    """The trainer's."""
    ready = "running" in state
    return {"name": CONTAINER, "state": state, "ready": ready, "restartCount": 0, "image": "i", "imageID": "i"}


def now() -> str:
    """As the API has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unscheduled(message: str) -> Play:
    """The scheduler finds no node."""
    words = condition("PodScheduled", "False", "Unschedulable", message)
    return lambda stage, name: stage.says(name, {"conditions": [words]})


def waits(reason: str, message: str) -> Play:
    """The container cannot be made."""

    def play(stage: Stage, name: str) -> None:
        stage.bind(name)
        waiting = {"waiting": {"reason": reason, "message": message}}
        stage.says(name, {"phase": "Pending", "containerStatuses": [container(waiting)]})

    return play


def does_not_mount(message: str) -> Play:
    """The kubelet tells so as an Event."""
    return lambda stage, name: stage.warn(stage.bind(name), "FailedMount", message)


def ends(code: int, message: str = "", reason: str = "Error") -> Play:
    """The trainer's container ends with the code; what it last wrote is `message`."""
    state = {"exitCode": code, "reason": reason, "message": message}

    def play(stage: Stage, name: str) -> None:
        stage.bind(name)
        told = {"terminated": {**state, "startedAt": now(), "finishedAt": now()}}
        phase = "Failed" if code else "Succeeded"
        stage.says(name, {"phase": phase, "containerStatuses": [container(told)]})

    return play


def tells(told: Termination) -> Play:
    """The trainer ends with these words."""

    def play(stage: Stage, name: str) -> None:
        stage.bind(name)
        stage.says(name, ended(told))

    return play


def evicted(message: str) -> Play:
    """The kubelet ends the pod for what it used."""

    def play(stage: Stage, name: str) -> None:
        stage.bind(name)
        stage.says(name, {"phase": "Failed", "reason": "Evicted", "message": message})

    return play


def disrupted(reason: str) -> Play:
    """Something takes the running pod away; its node is not heard of again."""

    def play(stage: Stage, name: str) -> None:
        pod = stage.run(name)
        stage.says(name, {"conditions": [condition("DisruptionTarget", "True", reason, "")]})
        stage.delete(pod)

    return play


def runs(stage: Stage, name: str) -> None:
    """The trainer runs and runs."""
    stage.bind(name)
    stage.says(name, {"phase": "Running", "containerStatuses": [container({"running": {"startedAt": now()}})]})


@dataclass(frozen=True)
class Scene:
    """A row: what is applied, what happens, and what the run's status must then say."""

    reason: str
    state: str
    words: tuple[str, ...]
    play: Play = nothing
    spec: Json = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    before: Play = nothing
    """What happens before the run is applied."""
