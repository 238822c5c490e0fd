"""Trackers outside: what they are told, what of it twice, and what a user hears when they fail."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from finetune_sdk.storage import Store, open_store
from finetune_trainer.checkpoint.metrics import join_metrics, write_segment
from finetune_trainer.records import StepMetrics
from finetune_trainer.tracking import outside
from finetune_trainer.tracking.follow import Tracking
from finetune_trainer.tracking.outside import Sender, Tracker, asked_for
from finetune_trainer.tracking.points import Point
from finetune_trainer.tracking.sender import serve, why
from finetune_trainer.tracking.sinks import TrackedRun
from tests.support.tracked import mlflow_history, scalars_in, wandb_history

RUN = TrackedRun(key="finetune-0123", name="cats", config={"training": {"seed": 0}})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "output").as_uri())


def line(step: int) -> StepMetrics:
    return StepMetrics(step=step, epoch=0.5, loss=1.0, learning_rate=1e-4, logit_scale=14.0, gradient_norm=0.5)


def train(step: int) -> dict[str, Any]:
    return {"points": [{"step": step, "values": {"train/loss": 1.0}}]}


@dataclass
class Remembering:
    """A tracker in memory, which fails as often as `failures` says."""

    held: Mapping[str, int] = field(default_factory=dict)
    failures: int = 0
    points: list[tuple[int, str]] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)

    def send(self, points: Sequence[Point]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("server away")
        self.points += [(point.step, point.group) for point in points]

    def finish(self, *, complete: bool) -> None:
        self.ended.append(complete)


def served(sink: Remembering, *messages: dict[str, Any]) -> list[str]:
    told: list[str] = []
    serve(messages, lambda: sink, lambda error: told.append(str(error)), lambda: None)
    return told


def test_what_a_tracker_holds_is_not_told_again() -> None:
    sink = Remembering(held={"train": 2, "test": 0})
    test = {"points": [{"step": step, "values": {"test/recall": 0.5}} for step in (0, 3)]}
    served(sink, train(1), train(2), train(3), train(3), test, {"complete": True})
    assert sink.points == [(3, "train"), (3, "test")]
    assert sink.ended == [True]


def test_what_a_tracker_did_not_take_is_told_with_the_next() -> None:
    sink = Remembering(failures=2)
    assert served(sink, train(1), train(2), train(3)) == ["server away"] * 2
    assert sink.points == [(1, "train"), (2, "train"), (3, "train")]
    assert sink.ended == [False], "nobody said that the run is complete"


def test_what_is_left_at_the_end_is_tried_once_more() -> None:
    sink = Remembering(failures=1)
    served(sink, train(1))
    assert sink.points == [(1, "train")]


ASKED: dict[str, tuple[dict[str, str], list[str]]] = {
    "nothing": ({"WANDB_PROJECT": "cats", "MLFLOW_TRACKING_URI": ""}, []),
    "a key": ({"WANDB_API_KEY": "k", "WANDB_MODE": "online"}, ["WANDB_API_KEY"]),
    "offline": ({"WANDB_MODE": "offline"}, ["WANDB_MODE"]),
    "switched off": ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, []),
    "a server": ({"MLFLOW_TRACKING_URI": "http://mlflow"}, ["MLFLOW_TRACKING_URI"]),
    "both": ({"WANDB_API_KEY": "k", "MLFLOW_TRACKING_URI": "x"}, ["WANDB_API_KEY", "MLFLOW_TRACKING_URI"]),
}


@pytest.mark.parametrize(("env", "variables"), ASKED.values(), ids=ASKED)
def test_which_trackers_are_asked_for(env: dict[str, str], variables: list[str]) -> None:
    assert [tracker.variable for tracker in asked_for(env)] == variables


def test_an_error_is_quoted_without_secrets() -> None:
    env = {"WANDB_API_KEY": "0123456789", "MLFLOW_TRACKING_PASSWORD": "hush!", "HOME": "/home/me"}
    error = ConnectionError("https://ann:pw@mlflow:5000 refused\n 0123456789 of /home/me, hush!")
    assert why(error, env) == "ConnectionError: https://***@mlflow:5000 refused *** of /home/me, ***"


def test_a_package_that_is_missing_is_told_once_with_the_fix(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(outside, "find_spec", lambda _name: None)
    told: list[str] = []
    with Tracking(store, {"WANDB_API_KEY": "k"}, told.append) as tracking:
        tracking.begin(RUN)
        tracking.measured(0, {"recall": 0.5})
        tracking.saved(1)
        tracking.complete()
    assert told == tracking.notes
    [sentence] = told
    assert sentence == (
        "WANDB_API_KEY is set, but the package wandb is not installed: pip install 'finetune-operator[wandb]', or "
        "unset WANDB_API_KEY; the run goes on without Weights & Biases"
    )


def test_a_folder_of_a_packages_name_is_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "no_such_tracker").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not Tracker("no_such_tracker", "", "").installed
    assert Tracker("json", "", "").installed


def test_a_tracker_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        [tracker] = asked_for(env)
        sender = Sender(tracker, RUN, env, told.append)
        sender.send([Point(step, {"train/loss": 1.0}) for step in range(3_000)])  # more than a pipe holds
        sender.end()
        sender.wait(0.1)
    assert len(told) == 1
    assert told[0].startswith(
        "MLFLOW_TRACKING_URI is set, but MLflow does not take this run's figures (it did not take the last figures "
        "within 0.1 s): check the variable and its server, or unset it"
    )


def test_a_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    sender = Sender(Tracker("mlflow", "MLflow", "MLFLOW_TRACKING_URI"), RUN, {"PYTHONHOME": "/nowhere"}, told.append)
    sender.send([Point(1, {"train/loss": 1.0})])
    sender.end()
    sender.wait(60)
    assert len(told) == 1
    assert "its process ended with 1" in told[0]


def test_steps_come_to_trackers_once_over_attempts_at_a_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "PATIENCE_SECONDS", 400.0)
    monkeypatch.setattr(outside, "SHORT_PATIENCE_SECONDS", 400.0)
    env = {
        "HOME": str(tmp_path),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "animals",
    }
    told: list[str] = []
    with Tracking(store, env, told.append) as first:  # killed after the checkpoint of step 4
        first.begin(RUN)
        first.measured(0, {"recall@5": 0.25})
        for step in (2, 4):
            write_segment(store, step, [line(step - 1), line(step)])
            first.saved(step)
    with Tracking(store, env, told.append) as second:
        second.begin(RUN)
        second.measured(0, {"recall@5": 0.25})
        write_segment(store, 6, [line(5), line(6)])
        second.saved(6)
        write_segment(store, 7, [line(7)])
        second.trained(join_metrics(store))
        second.measured(7, {"recall@5": 0.5})
        second.complete()
    steps = [(step, 1.0) for step in range(1, 8)]
    assert told == []
    assert scalars_in(tmp_path / "output/tensorboard")["train/loss"] == steps
    kept = wandb_history(tmp_path)
    assert (kept["train/loss"], kept["test/recall@5"]) == (steps, [(0, 0.25), (7, 0.5)])
    held = mlflow_history(tmp_path / "mlflow.db", "animals")
    assert (held["train/loss"], held["test/recall_at_5"]) == (steps, [(0, 0.25), (7, 0.5)])
