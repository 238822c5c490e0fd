"""Where a run stands whose Job is at work."""

from dataclasses import dataclass
from datetime import datetime

from finetune_operator.manifests.job import FINAL_CODES, STOPPED_CODE
from finetune_operator.model import JobView, Observed, PodView
from finetune_operator.policies.cause import GAP, Cause, cause_of_pod, is_disrupted
from finetune_operator.policies.lost import lost_cause, next_loss
from finetune_operator.policies.starting import QUIET, why_not_running
from finetune_operator.settings import PlanSettings
from finetune_sdk.api import reasons
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.api.status import FinetuneRunStatus

AT_WORK = ("Running", "Retrying")
_WENT_WRONG = frozenset({reasons.BACKING_OFF, reasons.NODE_LOST, reasons.PREEMPTED}) | reasons.TERMINAL_AFTER_RETRIES
"""What an attempt may have ended of: true until the next one runs, also when its pod is gone."""


@dataclass(frozen=True, slots=True)
class Standing:
    """State and cause."""

    state: str
    cause: Cause
    running: PodView | None = None
    """The pod whose trainer works."""
    wake: datetime | None = None


WORKING = Standing("Running", Cause("", ""))


def standing_of(
    observed: Observed, job: JobView, spec: FinetuneRunSpec, settings: PlanSettings, now: datetime
) -> Standing:
    """Running, Starting, or Retrying with what went wrong."""
    pods = [pod for pod in observed.own_pods if pod.job_uid == job.uid]
    living = next((pod for pod in reversed(pods) if pod.living), None)
    if (lost := lost_cause([living] if living else (), settings, now)) is not None:
        return Standing("Retrying", lost)
    if living is not None and living.running and not living.deleting:
        return Standing("Running", Cause("", ""), running=living)
    ended = next((pod for pod in reversed(_since_resumed(pods, job)) if _is_over(pod)), None)
    if ended is not None and _is_last(ended, job):  # the Job is about to say so: as it stands until then
        status = observed.run.status
        retrying = status.state == "Retrying"
        return Standing(status.state, Cause(status.reason, status.message)) if retrying else WORKING
    wake = next_loss(pods, settings, now)
    held = why_not_running(observed, job, None if living is None or living.deleting else living, spec)
    if not _is_retry(observed.run.status, ended):
        return Standing("Starting", _saving(living) if living is not None and living.deleting else held, wake=wake)
    if held is QUIET:
        held = _went_wrong(ended, observed, spec, settings)
    return Standing("Retrying", held, wake=wake)


def _since_resumed(pods: list[PodView], job: JobView) -> list[PodView]:
    """Pods of the present time at work: those before a suspend have ended because of it, or are past."""
    if job.resuming:
        return []
    return [pod for pod in pods if job.started_at is None or pod.created_at >= job.started_at]


def _is_over(pod: PodView) -> bool:
    return pod.ended is not None or not pod.living or pod.deleting


def _is_last(pod: PodView, job: JobView) -> bool:
    """Whether no attempt follows this one, which is over."""
    code = pod.ended.exit_code if pod.ended is not None else None
    if job.failing or code in (0, *FINAL_CODES):
        return True
    fails = (code is not None or not pod.living) and code != STOPPED_CODE and not is_disrupted(pod)
    return fails and not pod.counted and job.failed >= job.backoff_limit


def _is_retry(status: FinetuneRunStatus, ended: PodView | None) -> bool:
    """Whether an attempt came to an end before its time, and not just a pod that never was at work."""
    if status.state in AT_WORK:
        return True
    if ended is None:
        return False
    return ended.ended is not None or not ended.living or is_disrupted(ended)


def _saving(pod: PodView) -> Cause:
    return Cause("", f"pod {pod.name} saves and ends before the next one starts")


def _went_wrong(ended: PodView | None, observed: Observed, spec: FinetuneRunSpec, settings: PlanSettings) -> Cause:
    if ended is not None:
        cause = cause_of_pod(ended, observed, spec, settings)
        # A final reason with a code that is not: Kubernetes tries again, whatever the trainer thinks of it.
        return cause if cause.reason not in reasons.TERMINAL else Cause(reasons.BACKING_OFF, cause.message)
    status = observed.run.status
    if status.state == "Retrying" and status.reason in _WENT_WRONG:
        return Cause(status.reason, status.message)
    return Cause(reasons.BACKING_OFF, f"the pod is gone; {GAP}")
