"""Weights & Biases: online, or into a folder that `wandb sync` sends later."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import wandb

from finetune_trainer.tracking.points import TEST, TRAIN, Point
from finetune_trainer.tracking.sinks import PROJECT, TrackedRun

TEST_STEP = f"{TEST}/step"
"""The step that the test set's figures belong to: their axis, and in the run's summary how far it holds them."""


class WandbSink:
    """A run of a project, under an id of ours, so that a later attempt goes on with it."""

    def __init__(self, run: TrackedRun, env: Mapping[str, str]) -> None:
        """Open the run, or make it; project, entity, name and folder are W&B's own variables in `env`, if set."""
        settings = wandb.Settings(console="off", disable_git=True, save_code=False, silent=True)
        self._run = wandb.init(
            project=env.get("WANDB_PROJECT") or PROJECT,
            id=run.key,
            name=env.get("WANDB_NAME") or run.name,
            resume="allow",
            config=run.config,
            settings=settings,
        )
        self._run.define_metric(f"{TEST}/*", step_metric=TEST_STEP)
        self._first: int = self._run.starting_step  # that it takes: 0, or the one after the last that it holds
        # Nobody can ask a folder how far it came: a file beside its runs says so.
        self._marks = Path(self._run.settings.sync_dir).parent / f"{run.key}.json"
        self._held = self._known()

    @property
    def held(self) -> Mapping[str, int]:
        return dict(self._held)

    def send(self, points: Sequence[Point]) -> None:
        for point in points:
            if point.group == TEST:
                self._log_test(point)
            else:
                self._run.log(dict(point.values), step=point.step)
            self._held[point.group] = point.step
        self._marks.write_text(json.dumps(self._held), encoding="utf-8")

    def finish(self, *, complete: bool) -> None:
        self._run.finish(exit_code=0 if complete else 1)

    def _log_test(self, point: Point) -> None:
        # An attempt may have ended after its last step and before these: W&B takes no step again, but its next one.
        values = {**point.values, TEST_STEP: point.step}
        self._run.log(values, step=max(point.step, self._first))
        self._run.summary.update(values)

    def _known(self) -> dict[str, int]:
        if not self._run.offline:
            tested: float | None = self._run.summary.get(TEST_STEP)  # type: ignore[no-untyped-call]
            last = {TRAIN: self._first - 1} if self._first > 0 else {}
            return last if tested is None else {**last, TEST: int(tested)}
        try:
            held: dict[str, int] = json.loads(self._marks.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return held
