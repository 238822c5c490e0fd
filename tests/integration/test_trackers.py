"""The guide's runs, each in a folder of its own, and what the trackers that it names then hold."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.tracking import outside
from tests.support.command import Command
from tests.support.runs import make_run, outcome
from tests.support.tracked import mlflow_history, scalars_in, wandb_history

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/trackers.md"
SHORT: dict[str, Any] = {"training": {"steps": 3, "batchSize": 8}, "output": {"uri": "output/"}}


def run_with(finetune: Command, folder: Path, variable: str, **more: str) -> str:
    """The guide's command that sets `variable`; returns what it told."""
    [line] = re.findall(rf"^{variable}=.* finetune run -f run.yaml$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assignment, command, *words = shlex.split(line)
    assert command == "finetune"
    make_run(folder, images=24, **SHORT)
    ended = finetune(folder, *words, **dict([assignment.split("=", 1)]), HOME=str(folder), **more)
    assert ended.code == 0, ended.err
    return ended.err


def lines_of(folder: Path) -> list[tuple[int, float]]:
    lines = map(json.loads, (folder / "output/metrics.jsonl").read_bytes().splitlines())
    return [(line["step"], line["loss"]) for line in lines]


def assert_shown(shown: dict[str, list[tuple[int, float]]], folder: Path, at: str = "@") -> None:
    """The losses of metrics.jsonl, and the headline of result.json before and after."""
    result, lines = outcome(folder / "output"), lines_of(folder)
    change = result["changes"][result["metric"]]
    losses: list[Any] = [(step, pytest.approx(loss, rel=1e-6)) for step, loss in lines]
    assert shown["train/loss"] == losses
    expected: list[Any] = [(0, pytest.approx(change["before"])), (lines[-1][0], pytest.approx(change["after"]))]
    assert shown[f"test/{result['metric'].replace('@', at)}"] == expected


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of trackers take long to start on a busy machine."""
    monkeypatch.setattr(outside, "PATIENCE_SECONDS", 400.0)


def test_weights_and_biases_keeps_a_run_offline(finetune: Command, tmp_path: Path) -> None:
    key = "0123456789abcdef0123456789abcdef01234567"
    told = run_with(finetune, tmp_path, "WANDB_MODE", WANDB_API_KEY=key)
    assert "WANDB" not in told
    assert_shown(wandb_history(tmp_path), tmp_path)
    assert_shown(scalars_in(tmp_path / "output/tensorboard"), tmp_path)
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert holding == []


def test_mlflow_keeps_a_run_in_a_local_store(finetune: Command, tmp_path: Path) -> None:
    told = run_with(finetune, tmp_path, "MLFLOW_TRACKING_URI")
    assert "MLFLOW" not in told
    assert_shown(mlflow_history(tmp_path / "mlflow.db", "finetune"), tmp_path, at="_at_")


def test_a_tracker_that_takes_nothing_is_a_note_and_the_run_succeeds(finetune: Command, tmp_path: Path) -> None:
    make_run(tmp_path, images=24, **SHORT)
    ended = finetune(tmp_path, "run", "-f", "run.yaml", MLFLOW_TRACKING_URI="ftp://ann:hush@nowhere/mlflow")
    assert ended.code == 0, ended.err
    assert ended.err.count("MLFLOW_TRACKING_URI is set, but MLflow does not take this run's figures") == 1
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and b"hush" in path.read_bytes()]
    assert ("hush" in ended.err, holding) == (False, [])
    assert_shown(scalars_in(tmp_path / "output/tensorboard"), tmp_path)
