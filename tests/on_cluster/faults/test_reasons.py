"""K26: every reason on a real API server: state, reason, and a message that names the field and the fix.

One operator and one namespace, all runs side by side; controllers are real, and the test plays scheduler and kubelet.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from finetune_sdk.api import reasons
from finetune_sdk.api.status import Artifacts, RunEvaluation
from finetune_sdk.contract import Ended, Termination
from tests.on_cluster.faults.api import RUNS, ControlPlane, until
from tests.on_cluster.faults.proxy import a_proxy
from tests.on_cluster.faults.stage import (
    NODES,
    PATIENCE_S,
    Scene,
    Stage,
    disrupted,
    does_not_mount,
    ends,
    evicted,
    runs,
    tells,
    unscheduled,
    waits,
)
from tests.on_cluster.faults.world import World, a_namespace

AGAIN = "spec.lifecycle.restart"
ONCE = {"lifecycle": {"maxRetries": 0}}
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
NO_SECRET = 'MountVolume.SetUp failed for volume "finetune-storage" : secret "finetune-storage" not found'
SHM = 'Usage of EmptyDir volume "finetune-shm" exceeds the limit "1Gi". '
DISK = "Pod ephemeral local storage usage exceeds the total limit of containers 20Gi. "
RESULT = Ended(evaluation=RunEvaluation(metric="m", before=0.5, after=0.5, gain=0), artifacts=Artifacts())
TWICE = {"volumes": [{"name": "finetune-scratch", "emptyDir": {}}]}
QUEUE = {"kueue.x-k8s.io/queue-name": "team-a"}


def code(number: int) -> Scene:
    """A trainer that ends at once without a word: the operator's own are seen."""
    reason, *words = CODES[number]
    return Scene(reason, "Failed", (f"exit code {number}", *words), ends(number), spec=ONCE)


def gives_up(stage: Stage, name: str) -> None:
    """No node, and then no more patience."""
    unscheduled(NO_GPU)(stage, name)
    stage.world.until_state("Starting", name, PATIENCE_S)
    until(lambda: stage.world.status(name)["reason"] == "Unschedulable", PATIENCE_S, lambda: stage.world.log[-3000:])
    stage.world.change(name, lifecycle={"startDeadlineSeconds": 1})


CODES = {
    64: ("InvalidSpec", "apply the mended file"),
    65: ("DataInvalid", "spec.data", AGAIN),
    69: ("StorageUnavailable", "Secret finetune-storage", "spec.output.uri", AGAIN),
    70: ("TrainerError", "/logs/", AGAIN),
    71: ("Diverged", "spec.training.optimizer.learningRate"),
    74: ("Hung", "spec.lifecycle.progressDeadlineSeconds", AGAIN),
    76: ("GpuUnavailable", "spec.compute.gpusPerNode", AGAIN),
    77: ("StorageDenied", "Secret finetune-storage", AGAIN),
    78: ("OutputInUse", "spec.output.uri s3://models/"),
    79: ("OutOfGpuMemory", "spec.training.freeze"),
    80: ("GateNotMet", "spec.evaluation.gate", "report.html"),
}
SCENES: dict[str, Scene] = {
    "earlier-pods": Scene(
        "WaitingForPreviousPods", "Pending", ("kubectl delete pod earlier-pods-earlier",),
        before=lambda stage, name: stage.leave_behind(name)),
    "no-gpu": Scene(
        "Unschedulable", "Starting", (NO_GPU, "spec.compute.gpusPerNode"), unscheduled(NO_GPU)),
    "no-image": Scene(
        "ImagePullFailed", "Starting", ("image mine:1", "spec.compute.image", "spec.compute.imagePullSecrets"),
        waits("ErrImagePull", "mine:1: not found"), spec={"compute": {"image": "mine:1"}}),
    "no-priority": Scene(
        "PodRejected", "Starting", ("no PriorityClass with name highest was found", "spec.compute.priorityClassName"),
        spec={"compute": {"priorityClassName": "highest"}}),
    "no-account": Scene(
        "PodRejected", "Starting", ('serviceaccount "nobody" not found', "spec.compute.serviceAccountName"),
        spec={"compute": {"serviceAccountName": "nobody"}}),
    "no-secret": Scene(
        "VolumeMountFailed", "Starting",
        (NO_SECRET, "kubectl create secret generic finetune-storage -n ", "--from-literal=endpoint=URL"),
        does_not_mount(NO_SECRET)),
    "no-variable": Scene(
        "VolumeMountFailed", "Starting", ("kubectl create secret generic tokens -n ",),
        waits("CreateContainerConfigError", 'secret "tokens" not found')),
    "bad-job": Scene(
        "JobRejected", "Pending", ("spec.template.spec.volumes", "Duplicate value", "spec.compute"),
        spec={"compute": TWICE}),
    "stopped": Scene(
        "BackingOff", "Retrying", ("stopped from outside", "11 s at first", "10 min"), ends(75)),
    "lost": Scene(
        "NodeLost", "Retrying", ("cannot be confirmed dead", "kubectl taint node", "out-of-service"),
        disrupted("DeletionByTaintManager"), spec={"compute": {"terminationGracePeriodSeconds": 1}}),
    "preempted": Scene(
        "Preempted", "Retrying", ("spec.compute.priorityClassName", "last checkpoint"),
        disrupted("PreemptionByScheduler"), spec={"compute": {"terminationGracePeriodSeconds": 3600}}),
    "queued": Scene("QueuedForQuota", "Queued", ("Kueue's queue team-a",), labels=QUEUE),
    "two-gpus": Scene(
        "InvalidSpec", "Failed", ("spec.compute.gpusPerNode", "use 1"), spec={"compute": {"gpusPerNode": 2}}),
    **{f"code-{number}": code(number) for number in CODES},
    "bad-weights": Scene(
        "WeightsInvalid", "Failed", ("spec.model.weights.uri", AGAIN),
        tells(Termination(reason="WeightsInvalid", message="spec.model.weights.uri: no tensor visual.proj in it",
                          exit_code=65))),
    "too-long": Scene(
        "DeadlineExceeded", "Failed", ("1 s", "spec.lifecycle.activeDeadlineSeconds", AGAIN), runs,
        spec={"lifecycle": {"activeDeadlineSeconds": 1}}),
    "never-began": Scene(
        "Unschedulable", "Failed", ("spec.lifecycle.startDeadlineSeconds of 1 s", NO_GPU, AGAIN), gives_up),
    "big": Scene(
        "OutOfMemory", "Failed", ("16Gi", "spec.compute.resources.requests.memory"), ends(137, "", "OOMKilled"),
        spec=ONCE),
    "shared": Scene(
        "SharedMemoryExhausted", "Failed", ("1Gi", "spec.compute.sharedMemory"), evicted(SHM), spec=ONCE),
    "disk": Scene(
        "EphemeralStorageExceeded", "Failed", ("20Gi", "spec.compute.resources.requests.ephemeral-storage"),
        evicted(DISK), spec=ONCE),
    "untyped": Scene(
        "RetriesExhausted", "Failed", ("exit code 1", "ValueError: boom", AGAIN), ends(1, "ValueError: boom"),
        spec=ONCE),
    "no-gain": Scene(
        "NoGain", "Succeeded", ("the base was the best",),
        tells(Termination(reason="NoGain", message="the base was the best", exit_code=0, result=RESULT))),
    "unread": Scene("ResultUnread", "Succeeded", ("result.json", "s3://models/unread"), ends(0)),
}  # fmt: skip


@pytest.fixture(scope="module")
def stage(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Where all runs are applied, and all plays played."""
    with a_namespace(plane) as namespace, a_proxy(plane) as proxy:
        world = World(plane, proxy, namespace, tmp_path_factory.mktemp("reasons"))
        made = Stage(world, plane.call("POST", NODES, {"metadata": {"generateName": "played-"}})["metadata"]["name"])
        try:
            runs_path = world.path(RUNS, "finetuneruns")
            until(lambda: not plane.gone(runs_path), PATIENCE_S, lambda: "the CRD is not served")
            made.apply("unseen", {})
            assert (seen := world.status("unseen"))["reason"] == reasons.WAITING_FOR_OPERATOR, seen
            operator = world.start()
            until(lambda: '"leading"' in world.log or operator.poll() is not None, PATIENCE_S, lambda: world.log)
            assert operator.poll() is None, world.log
            perform(made)
            yield made
        finally:
            world.stop()
            plane.call("DELETE", f"{NODES}/{made.node}")


def perform(stage: Stage) -> None:
    """Every play at once: each mostly waits."""
    for name, scene in SCENES.items():
        scene.before(stage, name)
        stage.apply(name, scene.labels, **scene.spec)
    with ThreadPoolExecutor(16) as players:
        played = [players.submit(scene.play, stage, name) for name, scene in SCENES.items()]
    for one in played:
        one.result()


@pytest.mark.parametrize(("name", "scene"), SCENES.items(), ids=SCENES)
def test_a_reason_is_told_with_what_would_help(stage: Stage, name: str, scene: Scene) -> None:
    world = stage.world

    def is_told() -> bool:
        status = world.status(name)
        said = all(word in status["message"] for word in scene.words)
        return (status["state"], status.get("reason", "")) == (scene.state, scene.reason) and said

    until(is_told, PATIENCE_S, lambda: f"{scene}\n{world.status(name)}\n{world.log[-3000:]}")
    assert stage.is_followed(name)


def test_what_was_waiting_for_an_operator_waits_no_more(stage: Stage) -> None:
    """Its one row: the status that the API server itself gives, seen before an operator was there."""
    until(lambda: stage.world.status("unseen")["state"] == "Starting", PATIENCE_S, lambda: stage.world.log[-3000:])


def test_every_reason_has_a_row() -> None:
    assert {scene.reason for scene in SCENES.values()} == reasons.REASONS - {reasons.WAITING_FOR_OPERATOR}
