"""A run for a person: where it is, why, what it came to, and what to do next; pure."""

from collections.abc import Iterator
from datetime import datetime

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.api.status import RunEvaluation, RunProgress
from finetune_sdk.cli.cluster.advice import what_next
from finetune_sdk.cli.cluster.tables import age, duration, moment, percent, points, table
from finetune_sdk.spec_paths import printable

WIDTH = 11
"""Of the names on the left."""


def describe(run: FinetuneRun, now: datetime, *, wide: bool = False) -> str:
    """Several lines. `wide`: also Job, pod, image and times."""
    pairs = [*_standing(run), *_progress(run, now), *_result(run), *(_machinery(run, now) if wide else ())]
    lines = [f"{run.metadata.name} in namespace {run.metadata.namespace}, {age(run, now)} old", ""]
    lines += [f"{name:<{WIDTH}}{printable(value)}" for name, value in pairs if value]
    lines += ["", _conditions(run, now)]
    if advice := what_next(run):
        lines += ["", f"{'next':<{WIDTH}}{advice}"]
    return "\n".join(lines)


def outcome_line(run: FinetuneRun) -> str:
    """How a run ended, in one line."""
    status, figures = run.status, run.status.evaluation
    line = f"{run.metadata.name}: {status.state}{f', {status.reason}' if status.reason else ''}"
    if figures is None or figures.after is None:
        return line
    return f"{line}, {figures.metric} {percent(figures.before)} to {percent(figures.after)} ({points(figures.gain)})"


def progress_words(progress: RunProgress) -> str:
    """'train 42 %, step 126 of 300, epoch 4.2, loss 1.23, 812 pairs/s, 3m left'."""
    words = [progress.stage if progress.percent is None else f"{progress.stage} {progress.percent:.0f} %"]
    if progress.step is not None:
        words.append(f"step {progress.step:,}" + (f" of {progress.total_steps:,}" if progress.total_steps else ""))
    if progress.epoch is not None:
        words.append(f"epoch {progress.epoch:.1f}")
    if progress.loss is not None:
        words.append(f"loss {progress.loss:.4g}")
    if progress.samples_per_second is not None:
        words.append(f"{progress.samples_per_second:,.0f} pairs/s")
    if progress.eta_seconds is not None:
        words.append(f"{duration(progress.eta_seconds)} left")
    return ", ".join(words)


_Pairs = Iterator[tuple[str, str]]


def _standing(run: FinetuneRun) -> _Pairs:
    status = run.status
    tries = f", attempt {status.attempts}" if status.attempts > 1 and not status.completion_time else ""
    yield "state", f"{status.state}{tries}"
    yield "reason", status.reason
    yield "message", status.message
    if status.observed_generation < (run.metadata.generation or 0) and status.observed_generation:
        yield "", "The spec was changed since: the operator has not acted on that yet."


def _progress(run: FinetuneRun, now: datetime) -> _Pairs:
    progress = run.status.progress
    if progress is not None:
        seen = f" (seen {duration((now - progress.updated_at).total_seconds())} ago)" if progress.updated_at else ""
        yield "progress", progress_words(progress) + seen
    if run.status.checkpoint is not None:
        yield "checkpoint", f"step {run.status.checkpoint.step:,}  {run.status.checkpoint.uri}"


def _result(run: FinetuneRun) -> _Pairs:
    figures, artifacts = run.status.evaluation, run.status.artifacts
    if figures is not None:
        yield "metric", figures.metric
        yield "before", percent(figures.before)
        yield "after", percent(figures.after)
        yield "gain", _gain(figures)
    if artifacts is not None:
        yield "model", artifacts.model or ""
        yield "report", artifacts.report or ""
    elif run.status.state not in ("Succeeded", "Failed"):
        yield "output", run.spec.output.uri


def _gain(figures: RunEvaluation) -> str:
    if figures.gain is None:
        return ""
    between = f", 95 % interval {' to '.join(points(end) for end in figures.interval95)}" if figures.interval95 else ""
    return f"{points(figures.gain)} points{between}{f': {figures.verdict}' if figures.verdict else ''}"


def _machinery(run: FinetuneRun, now: datetime) -> _Pairs:
    status = run.status
    yield "job", status.job_name or ""
    yield "pod", status.pod.name if status.pod else ""
    yield "image", status.image or ""
    yield "attempts", str(status.attempts)
    yield "started", moment(status.start_time)
    yield "ended", moment(status.completion_time)
    active = status.active_seconds + ((now - status.active_since).total_seconds() if status.active_since else 0)
    yield "active", duration(active) if active else ""
    yield "GPU time", duration(status.gpu_seconds) if status.gpu_seconds else ""


def _conditions(run: FinetuneRun, now: datetime) -> str:
    rows = []
    for one in run.status.conditions:
        since = duration((now - one.last_transition_time).total_seconds()) if one.last_transition_time else ""
        told = "" if one.message == run.status.message else one.message
        rows.append([one.type, one.status, one.reason, since, told])
    return table(["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"], rows)
