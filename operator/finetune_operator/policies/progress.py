"""What the trainer says of itself, as the status shows it."""

from datetime import datetime, timedelta
from typing import Any

from finetune_operator.model import Observed, PodView
from finetune_operator.settings import PlanSettings
from finetune_sdk.api.status import FinetuneRunStatus, RunEvaluation, RunProgress
from finetune_sdk.contract import ProgressReport, Termination

Changes = dict[str, Any]
DIGITS = 4
"""Of figures in the status."""


def reporting(observed: Observed, pod: PodView, settings: PlanSettings) -> bool | None:
    """Whether the trainer's progress can be read; None where that is not known yet."""
    polled = observed.polled
    if polled is None or polled.pod_uid != pod.uid:
        return None
    if polled.misses == 0 and polled.report is not None:
        return True
    return False if polled.misses >= settings.misses_told else None


def progress_changes(observed: Observed, pod: PodView, settings: PlanSettings, now: datetime) -> Changes:
    """What the last report changes; nothing while the last write is younger than `progress_every`."""
    report = _report(observed, pod)
    if report is None or report.progress is None:
        return {}
    status = observed.run.status
    last = status.progress.updated_at if status.progress is not None else None
    if last is not None and timedelta() <= now - last < settings.progress_every:
        return {}
    changes: Changes = {"progress": shown(report.progress, now)}
    if report.checkpoint is not None:
        changes["checkpoint"] = report.checkpoint
    if report.before is not None and report.metric is not None and status.evaluation is None:
        changes["evaluation"] = RunEvaluation(metric=report.metric, before=round(report.before, DIGITS))
    return changes if _is_news(status, changes, now) else {}


def _is_news(status: FinetuneRunStatus, changes: Changes, now: datetime) -> bool:
    """Whether more than the time of the last report changes."""
    known = status.progress and status.progress.model_copy(update={"updated_at": now})
    return any((known if name == "progress" else getattr(status, name)) != new for name, new in changes.items())


def standstill(progress: RunProgress | None) -> RunProgress | None:
    """Progress as it stands while no trainer works: where it was, and no promise of when it is done."""
    return progress and progress.model_copy(update={"samples_per_second": None, "eta_seconds": None})


def shown(progress: RunProgress, now: datetime) -> RunProgress:
    """Progress with its figures rounded and its summary written."""
    percent = None if progress.percent is None else round(progress.percent, 1)
    summary = progress.stage if percent is None else f"{progress.stage} {int(percent)}%"
    rounded = {
        name: round(value, DIGITS)
        for name in ("epoch", "loss", "samples_per_second")
        if (value := getattr(progress, name)) is not None
    }
    eta = None if progress.eta_seconds is None else float(round(progress.eta_seconds))
    return progress.model_copy(
        update={**rounded, "percent": percent, "eta_seconds": eta, "summary": summary, "updated_at": now}
    )


def result_changes(termination: Termination | None) -> Changes:
    """The figures and places that an ended trainer told."""
    if termination is None or termination.result is None:
        return {}
    result = termination.result
    evaluation = result.evaluation
    figures = {
        name: round(value, DIGITS)
        for name in ("before", "after", "gain")
        if (value := getattr(evaluation, name)) is not None
    }
    interval = evaluation.interval95 and [round(bound, DIGITS) for bound in evaluation.interval95]
    changes: Changes = {
        "evaluation": evaluation.model_copy(update={**figures, "interval95": interval}),
        "artifacts": result.artifacts,
    }
    if result.checkpoint is not None:
        changes["checkpoint"] = result.checkpoint
    return changes


def _report(observed: Observed, pod: PodView) -> ProgressReport | None:
    polled = observed.polled
    return polled.report if polled is not None and polled.pod_uid == pod.uid else None
