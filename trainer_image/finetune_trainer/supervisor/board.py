"""What is known of the run: fed by the worker's lines, read by HTTP and by the log."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from finetune_sdk.api.status import CheckpointRef, ProgressStage, RunProgress
from finetune_sdk.contract import Ended, ProgressReport, Termination
from finetune_trainer.display.meter import Meter
from finetune_trainer.supervisor.channel import Line

STAGES: tuple[ProgressStage, ...] = get_args(ProgressStage)


@dataclass(frozen=True)
class Said:
    """What the worker itself said of its end."""

    reason: str
    message: str
    result: Ended | None
    """The figures, where the run is complete; its gate may be missed all the same."""


class Board:
    """Thread-safe. `clock` is steady, in seconds; `now` is UTC."""

    def __init__(self, run_uid: str, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._run_uid = run_uid
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._stage: ProgressStage | None = None
        self._meter: Meter | None = None
        self._metric: tuple[str, float] | None = None
        self._checkpoint: CheckpointRef | None = None
        self._at = now()
        self._said: Said | None = None
        self._ended: Termination | None = None

    def take(self, line: Line) -> None:
        """One line of the worker's."""
        with self._lock:
            self._at = self._now()
            match line.get("kind"):
                case "start":
                    self._start(line)
                case "advance" if self._meter is not None:
                    self._meter.advance(line["amount"], line["figures"], self._clock())
                case "measured":
                    self._metric = (line["metric"], line["before"])
                case "saved":
                    self._checkpoint = CheckpointRef(step=line["step"], uri=line["uri"])
                case "finished":
                    self._said = Said(line["reason"], line["message"], Ended.model_validate(line["result"]))
                case "failed":
                    self._said = Said(line["reason"], line["message"], None)

    def _start(self, line: Line) -> None:
        stage = next((known for known in STAGES if known == line["stage"].partition(":")[0]), None)
        if stage is not None:
            self._stage = stage
            self._meter = Meter(stage, line["total"], line["unit"], line["done"], self._clock())

    def end(self, termination: Termination) -> None:
        """The worker is over."""
        with self._lock:
            self._ended = termination

    @property
    def said(self) -> Said | None:
        """What the worker said of its end; None before, and where it could say nothing."""
        with self._lock:
            return self._said

    @property
    def step(self) -> int | None:
        """Optimizer updates done, while training or after."""
        with self._lock:
            return self._steps()

    @property
    def checkpoint(self) -> CheckpointRef | None:
        """The newest whole checkpoint of this attempt."""
        with self._lock:
            return self._checkpoint

    def report(self) -> ProgressReport:
        """GET /progress."""
        with self._lock:
            metric, before = self._metric or (None, None)
            return ProgressReport(
                run_uid=self._run_uid,
                progress=self._progress(),
                checkpoint=self._checkpoint,
                metric=metric,
                before=before,
                ended=self._ended,
                at=self._now(),
            )

    def _steps(self) -> int | None:
        # A step that a stop interrupts is saved and never counted as done.
        saved = self._checkpoint.step if self._checkpoint is not None else None
        if self._meter is not None and self._trains():
            return max(self._meter.done, saved or 0)
        return saved

    def _trains(self) -> bool:
        """Whether what advances are steps: before the first one captions are tokenized."""
        return self._meter is not None and self._stage == "train" and self._meter.unit == "steps"

    def _progress(self) -> RunProgress | None:
        meter, now = self._meter, self._clock()
        if meter is None or self._stage is None:
            return None
        share = min(100.0, 100.0 * meter.done / max(1, meter.total)) if meter.total is not None else None
        figures = {name: value for name, value in meter.figures.items() if math.isfinite(value)}
        return RunProgress(
            stage=self._stage,
            epoch=figures.get("epoch"),
            step=self._steps(),
            total_steps=meter.total if self._trains() else None,
            percent=share,
            loss=figures.get("loss"),
            samples_per_second=figures.get("samples_per_second"),
            eta_seconds=meter.eta(now),
            updated_at=self._at,
        )
