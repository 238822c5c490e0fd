"""A run that goes on in W&B online, which takes no step again: nothing is lost, and nothing told twice.

`Server` stands in for W&B: it keeps what was sent, answers a resumed run with it, and drops what comes too late.
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb

from finetune_trainer.tracking.sender import serve
from finetune_trainer.tracking.sinks import TrackedRun
from finetune_trainer.tracking.wandb_sink import WandbSink

RUN = TrackedRun(key="finetune-0123", name="cats", config={})


@dataclass
class Server:
    """What W&B holds of the only run."""

    folder: Path
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    summary: dict[str, float] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)

    def init(self, **_settings: object) -> "Opened":
        return Opened(self)

    def shown(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of a metric; a step is a row's place, or the metric's own axis."""
        axis = self.axes.get(f"{name.partition('/')[0]}/*")
        return [(int(row[axis]) if axis else step, row[name]) for step, row in self.rows.items() if name in row]


class Opened:
    """A run of the package's, opened by an attempt."""

    offline = False

    def __init__(self, server: Server) -> None:
        self._server = server
        self.starting_step = max(server.rows) + 1 if server.rows else 0
        self._step = self.starting_step
        self.summary = server.summary
        self.settings = SimpleNamespace(sync_dir=str(server.folder / "run"))

    def define_metric(self, name: str, step_metric: str) -> None:
        self._server.axes[name] = step_metric

    def log(self, values: dict[str, float], step: int) -> None:
        if step < self._step:
            return
        self._step = step
        self._server.rows.setdefault(step, {}).update(values)
        self.summary.update(values)

    def finish(self, exit_code: int) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(tmp_path)
    monkeypatch.setattr(wandb, "init", made.init)
    return made


def attempt(*points: dict[str, Any]) -> None:
    """Tell these in an attempt of their own."""
    told: list[BaseException] = []
    serve([{"points": [point]} for point in points], lambda: WandbSink(RUN, {}), told.append, lambda: None)
    assert told == []


BASE = {"step": 0, "values": {"test/recall@5": 0.25}}
AFTER = {"step": 3, "values": {"test/recall@5": 0.5}}
STEPS = [{"step": step, "values": {"train/loss": 1.0 / step}} for step in (1, 2, 3)]
LOSSES = [(step, 1.0 / step) for step in (1, 2, 3)]

ATTEMPTS: dict[str, list[list[dict[str, Any]]]] = {
    "one": [[BASE, *STEPS, AFTER]],
    "one that ended before its first step": [[BASE], [BASE, *STEPS, AFTER]],
    "one that ended while it trained": [[BASE, *STEPS[:2]], [BASE, *STEPS, AFTER]],
    "one that ended between its last step and the test": [[BASE, *STEPS], [BASE, *STEPS, AFTER]],
    "one that ended after the test": [[BASE, *STEPS, AFTER], [BASE, *STEPS, AFTER]],
    "one that ended twice": [[BASE, *STEPS], [BASE, *STEPS, AFTER], [BASE, *STEPS, AFTER]],
}


@pytest.mark.parametrize("attempts", ATTEMPTS.values(), ids=ATTEMPTS)
def test_every_figure_is_there_once_at_its_step(server: Server, attempts: list[list[dict[str, Any]]]) -> None:
    for points in attempts:
        attempt(*points)
    assert server.shown("train/loss") == LOSSES
    assert server.shown("test/recall@5") == [(0, 0.25), (3, 0.5)]
    assert server.summary["test/recall@5"] == 0.5
