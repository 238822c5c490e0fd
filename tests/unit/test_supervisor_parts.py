"""The supervisor's parts: the channel, the board, metrics, control groups, the worker's environment."""

import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from finetune_sdk.contract import ProgressReport
from finetune_trainer.supervisor.board import Board
from finetune_trainer.supervisor.channel import Channel, Line, Lines
from finetune_trainer.supervisor.child import Text
from finetune_trainer.supervisor.environment import worker_environment
from finetune_trainer.supervisor.http import open_metrics
from finetune_trainer.supervisor.limits import memory_kills, processors

NOW = datetime(2026, 1, 1, tzinfo=UTC)
families_of: Any = text_string_to_metric_families
"""Prometheus' own reading of OpenMetrics, which is strict; without types."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        os.close(end)


def heard(reader: int) -> list[Line]:
    return Lines().feed(os.read(reader, 1 << 16))


def test_what_is_told_is_heard(pipe: tuple[int, int]) -> None:
    channel = Channel(pipe[1])
    channel.start("train", 10, "steps", 2)
    channel.advance(1, loss=math.nan)
    channel.failed("DataInvalid", "caf\udce9.jpg\nis no picture")
    start, advance, failed = heard(pipe[0])
    assert start == {"kind": "start", "stage": "train", "total": 10, "unit": "steps", "done": 2}
    assert math.isnan(advance["figures"]["loss"])
    assert failed["message"] == "caf?.jpg\nis no picture"


def test_lines_survive_being_cut_anywhere_and_what_is_none_is_left_out() -> None:
    data = '{"kind": "note", "message": "é"}\nno line\n[1]\n{"kind": "alive"}\n{"kind": "cut'.encode()
    lines = Lines()
    found = [line["kind"] for at in range(len(data)) for line in lines.feed(data[at : at + 1])]
    assert found == ["note", "alive"]


def test_a_signals_handler_may_speak_in_the_midst_of_a_line(pipe: tuple[int, int]) -> None:
    """The handler runs in the thread that writes, here while the pipe is full: a plain lock would never be free."""
    channel, received = Channel(pipe[1]), bytearray()
    long = "x" * 300_000

    def handle(_number: int, _frame: FrameType | None) -> None:
        channel.note("stopping")

    def drain() -> None:
        received.extend(os.read(pipe[0], 1000))
        os.kill(os.getpid(), signal.SIGUSR2)
        while not received.endswith(b'last"}\n'):
            received.extend(os.read(pipe[0], 1 << 16))

    before = signal.signal(signal.SIGUSR2, handle)
    try:
        drainer = threading.Thread(target=drain)
        drainer.start()
        channel.note(long)
        channel.note("last")
        drainer.join(30)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert [line["message"] for line in Lines().feed(bytes(received))] == [long, "stopping", "last"]


def test_signs_of_life_come_once_a_second_at_most(pipe: tuple[int, int]) -> None:
    times = iter([0.0, 0.5, 0.9, 1.0, 7.0])
    channel = Channel(pipe[1], clock=lambda: next(times))
    for _ in range(5):
        channel.alive()
    assert len(heard(pipe[0])) == 3


def test_printed_text_comes_in_lines_of_bounded_length() -> None:
    text = Text()
    assert text.feed(b"one\ntw") == ["one"]
    assert text.feed(b"o\n\xff\n") == ["two", "\ufffd"]
    assert text.feed(b"y" * 20_000) == ["y" * 20_000]
    assert text.feed(b"rest") == []
    assert text.feed(b"") == ["rest"]


def a_board(*lines: Line) -> Board:
    times = iter(float(second) for second in range(1000))
    board = Board("uid", lambda: next(times), lambda: NOW)
    for line in lines:
        board.take(line)
    return board


TRAIN: Line = {"kind": "start", "stage": "train", "total": 10, "unit": "steps", "done": 4}
STEP: Line = {"kind": "advance", "amount": 1, "figures": {"loss": 2.5, "epoch": 0.5}}


def test_the_board_says_where_training_is() -> None:
    saved = {"kind": "saved", "step": 4, "uri": "s3://b/checkpoints/step-4/"}
    measured = {"kind": "measured", "metric": "m", "before": 0.25}
    report = a_board(measured, TRAIN, STEP, saved).report()
    progress = report.progress
    assert progress is not None
    assert (progress.stage, progress.step, progress.total_steps, progress.percent) == ("train", 5, 10, 50)
    assert (progress.loss, progress.epoch, report.metric, report.before) == (2.5, 0.5, "m", 0.25)
    assert report.checkpoint is not None
    assert report.checkpoint.step == 4


def test_captions_that_are_tokenized_before_the_first_step_are_no_steps() -> None:
    board = a_board({**TRAIN, "stage": "train: captions", "unit": "captions"})
    progress = board.report().progress
    assert progress is not None
    assert (progress.stage, progress.step, progress.total_steps, progress.percent) == ("train", None, None, 40)
    assert board.step is None


def test_a_step_that_was_saved_as_it_was_stopped_counts() -> None:
    assert a_board(TRAIN, STEP, {"kind": "saved", "step": 6, "uri": "s3://b/checkpoints/step-6/"}).step == 6


ODD: dict[str, list[Line]] = {
    "nothing yet": [],
    "an advance before any stage": [STEP],
    "a stage that the status does not know": [{**TRAIN, "stage": "report"}],
    "figures that are not finite": [TRAIN, {**STEP, "figures": {"loss": math.inf, "samples_per_second": math.nan}}],
    "a total that is not known": [{**TRAIN, "total": None}, STEP],
    "a total of none": [{**TRAIN, "total": 0, "done": 0}],
    "more than the total": [TRAIN, {**STEP, "amount": 30}],
    "a kind from the future": [{"kind": "sung"}],
}


@pytest.mark.parametrize("lines", ODD.values(), ids=ODD)
def test_odd_progress_is_served_all_the_same(lines: list[Line]) -> None:
    report = a_board(*lines).report()
    assert ProgressReport.model_validate_json(report.model_dump_json(by_alias=True)) == report
    list(families_of(open_metrics(report)))


def test_metrics_are_open_metrics() -> None:
    metrics = {family.name: family for family in families_of(open_metrics(a_board(TRAIN, STEP).report()))}
    values = {name: family.samples[0].value for name, family in metrics.items() if family.type == "gauge"}
    assert values.items() >= {"finetune_step": 5, "finetune_steps_planned": 10, "finetune_loss": 2.5}.items()
    states = {sample.labels["finetune_stage"]: sample.value for sample in metrics["finetune_stage"].samples}
    assert states == {name: float(name == "train") for name in states}
    assert len(states) == 6


def tree(folder: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """A root of control groups, and what /proc/self/cgroup says."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "cgroup", folder / "self"


V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
V2 = "low 0\noom 5\noom_kill 2\noom_group_kill 0\n"
MEMORY: dict[str, tuple[dict[str, str], int]] = {
    "version 1 in a container": (
        {"self": "4:memory:/kubepods/pod1/c1\n0::/\n", "cgroup/memory/memory.oom_control": V1},
        3,
    ),
    "version 1 on a machine": (
        {
            "self": "4:memory:/a/b\n",
            "cgroup/memory/a/b/memory.oom_control": V1,
            "cgroup/memory/memory.oom_control": "oom_kill 9\n",
        },
        3,
    ),
    "version 2 in a container": ({"self": "0::/\n", "cgroup/memory.events": V2}, 2),
    "version 2 on a machine": (
        {"self": "0::/user/a\n", "cgroup/user/a/memory.events": V2, "cgroup/memory.events": "oom_kill 9\n"},
        2,
    ),
    "no control groups": ({}, 0),
    "an old kernel": ({"self": "", "cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, 0),
}


@pytest.mark.parametrize(("files", "kills"), MEMORY.values(), ids=MEMORY)
def test_ended_for_memory_is_read_of_either_version(tmp_path: Path, files: dict[str, str], kills: int) -> None:
    assert memory_kills(*tree(tmp_path, files)) == kills


PROCESSORS: dict[str, tuple[dict[str, str], int | None]] = {
    "version 2": ({"self": "0::/\n", "cgroup/cpu.max": "250000 100000\n"}, 3),
    "version 2 without a limit": ({"self": "0::/\n", "cgroup/cpu.max": "max 100000\n"}, None),
    "version 1": (
        {
            "self": "3:cpu,cpuacct:/kubepods/c\n",
            "cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
            "cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        1,
    ),
    "version 1 without a limit": (
        {"self": "", "cgroup/cpu/cpu.cfs_quota_us": "-1\n", "cgroup/cpu/cpu.cfs_period_us": "100000\n"},
        None,
    ),
    "no control groups": ({}, None),
}


@pytest.mark.parametrize(("files", "count"), PROCESSORS.values(), ids=PROCESSORS)
def test_processors_are_those_that_the_container_may_use(
    tmp_path: Path, files: dict[str, str], count: int | None
) -> None:
    assert processors(*tree(tmp_path, files)) == count


def test_libraries_find_a_name_and_a_home_that_can_be_written(tmp_path: Path) -> None:
    env = worker_environment({"HOME": "/nonexistent", "TMPDIR": str(tmp_path), "HF_HOME": "/models"}, 2)
    assert (env["HOME"], env["USER"], env["OMP_NUM_THREADS"]) == (str(tmp_path), "finetune", "2")
    assert (env["FINETUNE_CACHE"], env["HF_HOME"]) == (str(tmp_path / "cache"), "/models")
    kept = worker_environment({"HOME": str(tmp_path), "OMP_NUM_THREADS": "8"}, 2)
    assert (kept["HOME"], kept["OMP_NUM_THREADS"]) == (str(tmp_path), "8")
    assert "OMP_NUM_THREADS" not in worker_environment({}, None)


def test_the_supervisor_is_small_and_hears_signals_before_it_imports_anything() -> None:
    """PID 1 stays for the whole run, and the worker's memory is what the container is for."""
    code = (
        "import sys; import finetune_trainer.supervisor.main; early = sorted(sys.modules);"
        "import finetune_trainer.supervisor.supervise; print(early, '|', sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    early, late = (set(re.findall(r"'([^'.]+)'", part)) for part in done.stdout.split("|"))
    assert not early & {"pydantic", "structlog", "http", "numpy", "torch"}
    heavy: set[Any] = {"torch", "numpy", "PIL", "open_clip", "minio", "transformers"}
    assert not late & heavy
