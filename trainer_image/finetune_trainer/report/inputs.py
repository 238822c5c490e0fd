"""What a report is made from: the documents of a run, as many of them as the run came to write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from finetune_trainer.records import (
    DataReport,
    Evaluation,
    Examples,
    GateResult,
    Outcome,
    RunRecord,
    Selection,
    StepMetrics,
)


@dataclass(frozen=True)
class ReportInput:
    """The documents of one run. All but `run` may be missing: the run is under way, was stopped, or failed."""

    run: RunRecord
    rendered_at: datetime
    """UTC."""
    data: DataReport | None = None
    before: Evaluation | None = None
    after: Evaluation | None = None
    selection: Selection | None = None
    outcome: Outcome | None = None
    examples: Examples | None = None
    metrics: Sequence[StepMetrics] = ()
    """In the order of steps."""
    gate: GateResult | None = None
    reproduce: str = ""
    """The shell command that measures the same number with CLIP Benchmark."""
    stage: str = ""
    """The stage that an unfinished run had reached."""
    total_steps: int | None = None
    """None: not known yet, or not for this run."""
    failure: str = ""
    """Why the run ended without a result, as the user was told; empty where it did not fail or nobody knows."""

    @property
    def headline(self) -> str | None:
        """The headline metric's name; None where nothing tells it yet."""
        if self.outcome is not None:
            return self.outcome.metric
        evaluation = self.run.resolved.get("evaluation")
        metric = evaluation.get("metric") if isinstance(evaluation, dict) else None
        return metric if isinstance(metric, str) else None
