"""How the trainer's container ends, whatever becomes of it: exit code, termination message, log."""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.contract import HEALTH_PATH
from finetune_sdk.runfile import load_run
from tests.support.containers import confined, innermost, memory_limit
from tests.support.processes import wait_until
from tests.support.runs import make_run
from tests.support.supervised import NAMESPACE, TRAINER, Supervised, order_of, supervised

ROOT = Path(__file__).resolve().parents[2]
PATIENT = "import finetune_trainer.supervisor.process as p; p.LINGER_SECONDS = 1e6"
"""Lingers until somebody asks, or ends it."""
START = "from finetune_trainer.supervisor.main import main; main()"
LINGERING = [sys.executable, "-c", f"{PATIENT}; {START}"]
CPU = {"compute": {"gpusPerNode": 0}}
LONG: dict[str, Any] = {
    **CPU,
    "training": {"steps": 5000, "batchSize": 16, "earlyStopping": {"patience": 0}},
    "checkpoints": {"everySteps": 3},
    "evaluation": {"every": 5000},
    "lifecycle": {"progressDeadlineSeconds": 8},
}
MEMORY = 200 << 20
"""Bytes: enough for the supervisor, too little for torch."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base weights, pictures and captions."""
    folder = tmp_path_factory.mktemp("inputs")
    make_run(folder, images=60)
    return folder


@pytest.fixture
def place(tmp_path: Path, inputs: Path) -> Path:
    """A folder with the inputs, and an output of its own."""
    for name in ("base", "pictures", "captions.csv"):
        (tmp_path / name).symlink_to(inputs / name)
    return tmp_path


def a_run(place: Path, **spec: Any) -> FinetuneRun:
    return load_run(make_run(place, **{**CPU, **spec}))


def has_saved(pod: Supervised) -> None:
    """Wait for the first checkpoint."""
    pod.report_when(lambda report: report.checkpoint is not None)


# Before anything runs


BAD_ORDERS = {
    "none": (None, "FINETUNE_RUN is not set"),
    "no JSON": ("{garbage", "FINETUNE_RUN cannot be carried out (Invalid JSON: "),
    "of a newer version": (
        '{"version": 2, "name": "r", "namespace": "n", "uid": "u", "spec": {}}',
        "(version: Input should be 1): use a trainer image of the operator's version",
    ),
    "a field from the future": (
        '{"name": "r", "namespace": "n", "uid": "u", "spec": {"weather": "fine"}}',
        "spec.weather: Extra inputs are not permitted",
    ),
}


@pytest.mark.parametrize(("order", "told"), BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_an_order_that_cannot_be_read_ends_with_64_and_a_sentence(tmp_path: Path, order: str | None, told: str) -> None:
    with supervised(tmp_path, order) as pod:
        ended = pod.end()
    assert (ended.code, ended.said.exit_code, ended.said.reason) == (64, 64, "InvalidSpec")
    assert told in ended.said.message
    assert ended.events[-1]["message"] == ended.said.message


def test_what_this_image_cannot_do_is_refused_and_not_left_out(place: Path) -> None:
    order = json.loads(order_of(a_run(place)))
    order["spec"].setdefault("compute", {})["nodes"] = 2
    with supervised(place / "pod", json.dumps(order)) as pod:
        ended = pod.end()
    assert (ended.code, ended.said.reason) == (64, "InvalidSpec")
    assert "spec.compute.nodes: several nodes are not supported yet" in ended.said.message


def test_pid_1_hears_a_stop_before_anything_is_up(place: Path) -> None:
    """By the image's own script: it holds signals back until there is somebody to hear them."""
    script = (ROOT / "trainer_image/finetune-trainer").read_text().replace("/venv/bin/python", sys.executable)
    run = a_run(place)
    with supervised(place / "pod", run, command=confined(["sh", "-c", script], place / "pod")) as pod:
        pid = innermost(pod.process.pid)
        wait_until(lambda: holds_back_sigterm(pid), "SIGTERM is blocked, or listened for")
        os.kill(pid, signal.SIGTERM)
        ended = pod.end()
    assert (ended.code, ended.said.exit_code, ended.said.reason) == (75, 75, "Stopped")
    assert not (place / "output-run").exists()


def holds_back_sigterm(pid: int) -> bool:
    """Whether SIGTERM is blocked in the process, or has a handler."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigCgt"))]
    return any(mask & 1 << (signal.SIGTERM - 1) for mask in masks)


# What the trainer says itself


def test_bad_data_ends_with_65_and_names_the_row_though_nobody_can_watch(place: Path) -> None:
    (place / "bad.csv").write_text("image,caption,split\npictures/none.jpg,a cat,train\npictures/no.jpg,a dog,test\n")
    source = {"uri": "bad.csv"}
    data = {name: {**source, "where": {"split": name}} for name in ("train", "test")}
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with supervised(place / "pod", a_run(place, data=data), env={"FINETUNE_PORT": str(port)}) as pod:
            ended = pod.end()
    assert (ended.code, ended.said.exit_code, ended.said.reason) == (65, 65, "DataInvalid")
    assert "bad.csv:2" in ended.said.message
    assert ended.event("progress-not-served")["port"] == port
    kept = (place / "output-run/logs/attempt-1.jsonl").read_text()
    assert {json.loads(line)["run"] for line in kept.splitlines()} == {"run"}


def test_an_ordered_gpu_that_is_not_there_ends_with_76(place: Path) -> None:
    run = a_run(place, compute={"gpusPerNode": 1})
    with supervised(place / "pod", run, env={"FINETUNE_DEVICE": "", "CUDA_VISIBLE_DEVICES": ""}) as pod:
        ended = pod.end()
    assert (ended.code, ended.said.reason) == (76, "GpuUnavailable")
    assert "compute.gpusPerNode is 1" in ended.said.message


# What the trainer cannot say itself


def test_a_worker_that_is_killed_is_told_of_and_the_result_is_kept_for_whoever_asks(place: Path) -> None:
    with supervised(place / "pod", a_run(place, **LONG), command=LINGERING) as pod:
        has_saved(pod)
        pod.send_worker(signal.SIGKILL)
        report = pod.report_when(lambda report: report.ended is not None)
        ended = pod.end()
    assert (ended.code, ended.said.exit_code, ended.said.reason) == (70, 70, "TrainerError")
    assert "was ended by SIGKILL, not for its container's limit of memory" in ended.said.message
    assert report.ended == ended.said
    assert ended.said.step is not None
    assert ended.said.step > 0
    # Without a termination message Kubernetes reads the log's end.
    assert {key: ended.events[-1][key] for key in json.loads(ended.message)} == json.loads(ended.message)


def test_a_crash_is_told_with_its_place_and_a_stop_cuts_the_lingering_short(place: Path) -> None:
    with supervised(place / "pod", a_run(place, **LONG), command=LINGERING) as pod:
        has_saved(pod)
        pod.send_worker(signal.SIGSEGV)
        pod.wait_until(lambda: bool(pod.message.exists() and pod.message.read_bytes()), "the end is told")
        assert pod.get(HEALTH_PATH).status == 200
        pod.send(signal.SIGTERM)
        ended = pod.end()
    assert (ended.code, ended.said.reason) == (70, "TrainerError")
    assert "ended by SIGSEGV; its last words:\nFatal Python error: Segmentation fault" in ended.said.message
    assert 'File "' in ended.said.message


def test_no_progress_ends_with_74_and_every_threads_stack_in_the_log(place: Path) -> None:
    with supervised(place / "pod", a_run(place, **LONG)) as pod:
        has_saved(pod)
        pod.send_worker(signal.SIGSTOP)
        ended = pod.end()
    assert (ended.code, ended.said.exit_code, ended.said.reason) == (74, 74, "Hung")
    assert "no progress for 8 s" in ended.said.message
    assert ended.event("hung")["step"] > 0
    assert "most recent call first" in ended.output
    assert "training/loop.py" in ended.output
    assert {(event["run"], event["namespace"]) for event in ended.events} == {("run", NAMESPACE)}
    kept = (place / "output-run/logs/attempt-1.jsonl").read_text(encoding="utf-8")
    assert kept == pod.log.read_text(encoding="utf-8"), "the log outlives the pod"
    failure = json.loads((place / "output-run/progress.json").read_bytes())["failure"]
    assert (failure["reason"], failure["exitCode"], failure["message"]) == ("Hung", 74, ended.said.message)


COUNTED = "import os, finetune_trainer.supervisor.{0} as m; m.memory_kills = lambda: int(os.path.exists('kills'))"


def test_out_of_memory_is_told_as_such(place: Path) -> None:
    pod_folder = place / "pod"
    with memory_limit(MEMORY) as limited:
        if limited is not None:
            with supervised(pod_folder, a_run(place), command=[*limited, *TRAINER]) as pod:
                ended = pod.end()
        else:  # no control group can be made here: what the kernel would count is counted by a file
            counted = "; ".join([COUNTED.format("process"), "import finetune_trainer.supervisor.main as m", START])
            with supervised(pod_folder, a_run(place), command=[sys.executable, "-c", counted]) as pod:
                worker = pod.worker()
                (pod_folder / "kills").touch()
                os.kill(worker, signal.SIGKILL)
                ended = pod.end()
    assert (ended.code, ended.said.exit_code, ended.said.reason) == (70, 70, "OutOfMemory")
    assert "compute.resources.requests.memory" in ended.said.message


ORPHAN = """
import os
if "FINETUNE_CHANNEL" in os.environ and os.fork() == 0:
    if os.fork() == 0:
        print("the orphan is", os.getpid(), flush=True)
    os._exit(0)
"""
ADOPT = "import ctypes; ctypes.CDLL(None).prctl(36, 1)"
"""PR_SET_CHILD_SUBREAPER: orphans come to this process, as to PID 1."""


def test_orphans_are_taken_in(place: Path) -> None:
    hooks = place / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(ORPHAN)
    command = [sys.executable, "-c", f"{ADOPT}; {START}"]
    with supervised(place / "pod", a_run(place, **LONG), command=command, env={"PYTHONPATH": str(hooks)}) as pod:
        pod.wait_until(lambda: any("the orphan is" in event.get("line", "") for event in pod.events()), "an orphan")
        (orphan,) = (int(event["line"].split()[-1]) for event in pod.events() if "orphan" in event.get("line", ""))
        pod.wait_until(lambda: not Path(f"/proc/{orphan}").exists(), "the orphan is gone, and no zombie")
        assert pod.process.poll() is None, "an orphan's end is not the worker's"


# Stops


def test_a_second_ctrl_c_ends_it_at_once(place: Path) -> None:
    with supervised(place / "pod", a_run(place, **LONG)) as pod:
        has_saved(pod)
        pod.send_worker(signal.SIGSTOP)  # so that it cannot have saved before the second one
        pod.send(signal.SIGINT)
        pod.send(signal.SIGINT)
        pod.send_worker(signal.SIGCONT)
        ended = pod.end()
    assert ended.code in (75, 130)


def test_a_worker_that_cannot_save_in_time_is_given_up_and_that_is_no_failure(place: Path) -> None:
    spec = {**LONG, "compute": {"gpusPerNode": 0, "terminationGracePeriodSeconds": 4}}
    with supervised(place / "pod", a_run(place, **spec)) as pod:
        has_saved(pod)
        pod.send_worker(signal.SIGSTOP)
        pod.send(signal.SIGTERM)
        pod.send(signal.SIGTERM)
        ended = pod.end()
    assert (ended.code, ended.said.exit_code, ended.said.reason) == (75, 75, "Stopped")
    assert "saving took more than the 2 s that the grace period leaves: the next start goes on" in ended.said.message
