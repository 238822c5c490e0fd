"""MLflow, by its client: a server's or a local store, as MLFLOW_TRACKING_URI says."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from finetune_trainer.tracking.points import TEST, TRAIN, Point
from finetune_trainer.tracking.sinks import PROJECT, TrackedRun

TAG = "finetune.key"
BATCH = 1000
"""Metrics in one request, and the most that MLflow takes."""
MOST_PARAMS = 100
"""In one request, and the most that MLflow takes."""
LONGEST_PARAM = 500
"""Characters: what every version of MLflow takes."""


class MlflowSink:
    """A run of an experiment, found again by a tag."""

    def __init__(self, run: TrackedRun, env: Mapping[str, str]) -> None:
        """Open the run, or make it. `env` may name MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME."""
        self._client = MlflowClient()
        experiment = env.get("MLFLOW_EXPERIMENT_ID") or self._experiment(env.get("MLFLOW_EXPERIMENT_NAME") or PROJECT)
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{run.key}'", max_results=1)
        opened = found[0] if found else self._create(experiment, run)
        self._id: str = opened.info.run_id
        if found:
            self._client.update_run(self._id, status="RUNNING")
        self._held = {group: step for group in (TRAIN, TEST) if (step := self._last_step(opened, group)) is not None}

    @property
    def held(self) -> Mapping[str, int]:
        return self._held

    def send(self, points: Sequence[Point]) -> None:
        now = int(time.time() * 1000)
        metrics = [
            Metric(metric_name(name), value, now, point.step)
            for point in points
            for name, value in point.values.items()
        ]
        for first in range(0, len(metrics), BATCH):
            self._client.log_batch(self._id, metrics=metrics[first : first + BATCH])

    def finish(self, *, complete: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if complete else "KILLED")

    def _experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        try:
            return self._client.create_experiment(name)
        except MlflowException:  # another run made it at the same time
            known = self._client.get_experiment_by_name(name)
            if known is None:
                raise
            return str(known.experiment_id)

    def _create(self, experiment: str, run: TrackedRun) -> Run:
        made = self._client.create_run(experiment, run_name=run.name, tags={TAG: run.key})
        params = [Param(name, value[:LONGEST_PARAM]) for name, value in flat(run.config).items()]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(made.info.run_id, params=params[first : first + MOST_PARAMS])
        return made

    def _last_step(self, run: Run, group: str) -> int | None:
        """Of the group's first metric: a group's metrics are sent together."""
        name = next((name for name in sorted(run.data.metrics) if name.startswith(f"{group}/")), None)
        if name is None:
            return None
        return max(int(metric.step) for metric in self._client.get_metric_history(self._id, name))


def metric_name(name: str) -> str:
    """MLflow allows no @ in names: recall@5 is recall_at_5 there."""
    return name.replace("@", "_at_")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"training": {"seed": 0}} as {"training.seed": "0"}; what is None is left out."""
    found: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif value is not None:
            found[f"{prefix}{name}"] = str(value)
    return found
