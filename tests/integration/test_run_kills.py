"""A run that is killed anywhere ends with the same bits; one that is asked to stop says how to go on."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.long import seeds
from tests.support.runs import (
    digests,
    finetune,
    has_step,
    make_run,
    outcome,
    saved_each_step,
    stage_of,
    start_finetune,
    wait_until,
)

STEPS = 14
SPEC = saved_each_step(STEPS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = finetune(folder, "run", "-f", make_run(folder, **SPEC), FINETUNE_LOADER_WORKERS="1")
    assert ended.returncode == 0, ended.stderr
    return folder


def copy_inputs(folder: Path, undisturbed: Path) -> Path:
    """The same run in another folder, on the same data and weights."""
    for name in ("base", "pictures", "captions.csv"):
        (folder / name).symlink_to(undisturbed / name)
    return make_run(folder, **SPEC)


def at_stage(output: Path, stage: str) -> Callable[[], bool]:
    """Whether the run is in that stage."""
    return lambda: stage_of(output) == stage


def kill_when(folder: Path, run: Path, reached: Callable[[], bool], what: str, workers: int) -> None:
    process = start_finetune(folder, "run", "-f", run, FINETUNE_LOADER_WORKERS=str(workers))
    wait_until(reached, process, what)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("seed", seeds([3], 12))
def test_killed_in_every_stage_and_at_random_steps(tmp_path: Path, undisturbed: Path, seed: int) -> None:
    run, output = copy_inputs(tmp_path, undisturbed), tmp_path / "output-run"
    for stage in ("prepare", "baseline"):
        kill_when(tmp_path, run, at_stage(output, stage), f"stage {stage}", 0)
    steps = sorted(np.random.default_rng(seed).choice(np.arange(1, STEPS), 3, replace=False).tolist())
    for workers, step in zip((0, 1, 4), steps, strict=True):
        kill_when(tmp_path, run, has_step(output, step), f"step {step}", workers)
    for stage in ("select", "evaluate", "export", "report"):
        kill_when(tmp_path, run, at_stage(output, stage), f"stage {stage}", 4)
    ended = finetune(tmp_path, "run", "-f", run, FINETUNE_LOADER_WORKERS="4")
    assert ended.returncode == 0, ended.stderr
    assert digests(output) == digests(undisturbed / "output-run")
    assert json.loads((output / "progress.json").read_bytes())["attempts"] == 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_asked_to_stop_it_saves_and_goes_on(tmp_path: Path, undisturbed: Path, number: signal.Signals) -> None:
    run, output = copy_inputs(tmp_path, undisturbed), tmp_path / "output-run"
    process = start_finetune(tmp_path, "run", "-f", run)
    wait_until(has_step(output, 2), process, "step 2")
    process.send_signal(number)
    assert process.wait(60) == 75
    told = (tmp_path / "started.log").read_text()
    match = re.search(r"stopped, step (\d+) of 14 is saved: the same command goes on from there", told)
    assert match, told
    assert has_step(output, int(match[1]))()
    status = finetune(tmp_path, "status", output)
    assert f"step {match[1]}" in status.stdout
    assert "ended by" in status.stdout
    assert finetune(tmp_path, "run", "-f", run).returncode == 0
    assert digests(output) == digests(undisturbed / "output-run")


def test_pixels_kept_as_jpeg_stay_so_where_the_disk_has_grown(tmp_path: Path, undisturbed: Path) -> None:
    """A run whose pictures are damaged by JPEG is another run, to the last bit: an attempt must not change its mind."""
    little = {"FINETUNE_CACHE_BYTES": "1000000"}
    places = [tmp_path / name for name in ("whole", "killed")]
    for place in places:
        place.mkdir()
    whole, killed = (copy_inputs(place, undisturbed) for place in places)
    ended = finetune(whole.parent, "run", "-f", whole, **little)
    assert ended.returncode == 0, ended.stderr
    assert "JPEG" in ended.stderr
    process = start_finetune(killed.parent, "run", "-f", killed, **little)
    wait_until(has_step(killed.parent / "output-run", 5), process, "step 5")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    shutil.rmtree(killed.parent / "cache")  # as on another machine
    again = finetune(killed.parent, "run", "-f", killed)
    assert again.returncode == 0, again.stderr
    assert digests(killed.parent / "output-run") == digests(whole.parent / "output-run")
    assert digests(whole.parent / "output-run") != digests(undisturbed / "output-run")


def test_stopped_before_training_it_says_how_to_go_on(tmp_path: Path, undisturbed: Path) -> None:
    run, output = copy_inputs(tmp_path, undisturbed), tmp_path / "output-run"
    process = start_finetune(tmp_path, "run", "-f", run)
    wait_until(lambda: stage_of(output) == "prepare", process, "preparing")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    told = (tmp_path / "started.log").read_text()
    assert f"stopped by SIGTERM; go on with: finetune run -f {run}" in told


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path, undisturbed: Path) -> None:
    run, output = copy_inputs(tmp_path, undisturbed), tmp_path / "output-run"
    process = start_finetune(tmp_path, "run", "-f", run)
    wait_until(lambda: stage_of(output) == "prepare", process, "preparing")
    told = tmp_path / "started.log"
    # It is loading the model, and looks at the flag only when that is done: time for the second one.
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "Ctrl-C once more ends at once" in told.read_text(), process, "told")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, told.read_text()


def test_a_second_process_takes_over_and_the_first_one_ends(tmp_path: Path, undisturbed: Path) -> None:
    run, output = copy_inputs(tmp_path, undisturbed), tmp_path / "output-run"
    first = start_finetune(tmp_path, "run", "-f", run)
    wait_until(has_step(output, 1), first, "step 1")
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = finetune(tmp_path, "run", "-f", run)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert second.returncode == 0, second.stderr
    assert first.wait(60) == 78
    assert "is now written by process" in (tmp_path / "started.log").read_text()
    assert digests(output) == digests(undisturbed / "output-run")
    assert outcome(output)["steps"] == STEPS


def test_the_log_of_an_attempt_outlives_it(tmp_path: Path, undisturbed: Path) -> None:
    run, output = copy_inputs(tmp_path, undisturbed), tmp_path / "output-run"
    process = start_finetune(tmp_path, "run", "-f", run)
    wait_until(has_step(output, 1), process, "step 1")
    process.terminate()
    assert process.wait(60) == 75
    events = [json.loads(line) for line in (output / "logs/attempt-1.jsonl").read_text().splitlines()]
    assert {"stage", "note"} <= {event["event"] for event in events}
    assert {event["run"] for event in events} == {"run"}
