"""How a run's status goes on: what the operator would write, as plain functions of the run; for fakes and tests."""

from collections.abc import Iterator
from datetime import datetime

from finetune_sdk.api.defaults import headline_metric
from finetune_sdk.api.reasons import GATE_NOT_MET, NO_GAIN, State
from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.api.status import (
    Artifacts,
    Condition,
    ConditionType,
    FinetuneRunStatus,
    PodRef,
    RunEvaluation,
    RunProgress,
)

_HALF_INTERVAL = 0.02


def moved(run: FinetuneRun, now: datetime, state: State, reason: str = "", message: str = "") -> FinetuneRunStatus:
    """The run has come to `state`."""
    old = run.status
    final = state in ("Succeeded", "Failed")
    status = old.model_copy(
        update={
            "observed_generation": run.metadata.generation or 0,
            "restarts": run.spec.lifecycle.restart,
            "state": state,
            "reason": reason,
            "message": message,
            "job_name": f"{run.metadata.name}-trainer",
            "start_time": old.start_time or (now if state in ("Running", *_FINAL) else None),
            "completion_time": now if final else None,
            "progress": old.progress if state == "Running" else None,
        }
    )
    return status.model_copy(update={"conditions": list(_conditions(run, status, now))})


_FINAL = ("Succeeded", "Failed")


def running(run: FinetuneRun, now: datetime, pod: PodRef, progress: RunProgress | None = None) -> FinetuneRunStatus:
    """A trainer works in `pod`."""
    fresh = run.status.pod is None or run.status.pod.uid != pod.uid
    return moved(run, now, "Running").model_copy(
        update={"pod": pod, "attempts": run.status.attempts + fresh, "progress": progress}
    )


def succeeded(
    run: FinetuneRun, now: datetime, *, before: float, after: float, interval: tuple[float, float] | None = None
) -> FinetuneRunStatus:
    """The result is stored. `before`, `after`: recall from 0 to 1; `interval`: of the gain, low and high."""
    evaluation = figures(run, before, after, interval)
    reason = NO_GAIN if evaluation.verdict == "NoGain" else ""
    message = f"{evaluation.metric} went from {before:.1%} to {after:.1%}".replace("%", " %")
    uri = run.spec.output.uri.rstrip("/")
    artifacts = Artifacts(model=f"{uri}/model/", report=f"{uri}/report.html", result=f"{uri}/result.json")
    return moved(run, now, "Succeeded", reason, message).model_copy(
        update={"evaluation": evaluation, "artifacts": artifacts}
    )


def failed(run: FinetuneRun, now: datetime, reason: str, message: str) -> FinetuneRunStatus:
    """The run is over without a result, or its gate is missed."""
    return moved(run, now, "Failed", reason, message)


def figures(run: FinetuneRun, before: float, after: float, interval: tuple[float, float] | None) -> RunEvaluation:
    """The outcome in figures, rounded as the operator does."""
    gain = round(after - before, 4)
    low, high = interval or (round(gain - _HALF_INTERVAL, 4), round(gain + _HALF_INTERVAL, 4))
    verdict = "NoGain" if gain == 0 else "Improved" if low > 0 else "Worse" if high < 0 else "Inconclusive"
    return RunEvaluation.model_validate(
        {
            "metric": headline_metric(run.spec.evaluation.metric, run.spec.evaluation.recall_at),
            "before": round(before, 4),
            "after": round(after, 4),
            "gain": gain,
            "interval95": [low, high],
            "verdict": verdict,
        }
    )


def _conditions(run: FinetuneRun, status: FinetuneRunStatus, now: datetime) -> Iterator[Condition]:
    """As the operator sets them, but that it keeps the time of one whose status stays."""
    state, reason, message = status.state, status.reason, status.message

    def one(kind: ConditionType, holds: str, why: str, words: str = "") -> Condition:
        return Condition.model_validate(
            {
                "type": kind,
                "status": holds,
                "reason": why,
                "message": words,
                "observedGeneration": run.metadata.generation,
                "lastTransitionTime": now,
            }
        )

    yield one("Accepted", "True", "Accepted")
    yield one("Suspended", "True" if state == "Suspended" else "False", state)
    ended = {"Succeeded": "True", "Failed": "False"}.get(state, "Unknown")
    yield one("Succeeded", ended, reason or state, message)
    if state == "Failed":
        yield one("Stalled", "True", reason, message)
    if reason == GATE_NOT_MET or (run.spec.evaluation.gate is not None and state == "Succeeded"):
        yield one("GatePassed", "False" if reason == GATE_NOT_MET else "True", reason or "GatePassed", message)
