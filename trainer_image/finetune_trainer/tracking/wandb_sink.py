"""Weights & Biases: online, or into a folder that `wandb sync` sends later."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import wandb

from finetune_trainer.tracking.points import TEST, TRAIN, Point
from finetune_trainer.tracking.sinks import PROJECT, TrackedRun


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
        # Nobody can ask a folder how far it came: a file beside its runs says so.
        self._marks = Path(self._run.settings.sync_dir).parent / f"{run.key}.json"
        self._held = self._known()

    @property
    def held(self) -> Mapping[str, int]:
        return dict(self._held)

    def send(self, points: Sequence[Point]) -> None:
        for point in points:
            self._run.log(dict(point.values), step=point.step)
            if point.group == TEST:
                self._run.summary.update(dict(point.values))
            self._held[point.group] = point.step
        self._marks.write_text(json.dumps(self._held), encoding="utf-8")

    def finish(self, *, complete: bool) -> None:
        self._run.finish(exit_code=0 if complete else 1)

    def _known(self) -> dict[str, int]:
        if not self._run.offline:
            next_step = self._run.starting_step
            return dict.fromkeys((TRAIN, TEST), next_step - 1) if next_step > 0 else {}
        try:
            held: dict[str, int] = json.loads(self._marks.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return held
