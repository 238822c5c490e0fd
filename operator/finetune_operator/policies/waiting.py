"""What must be out of the way before a run's Job can be made."""

from datetime import datetime

from finetune_operator.manifests.job import job_name
from finetune_operator.model import Observed, PodView, Rejection
from finetune_operator.policies.cause import Cause
from finetune_operator.policies.lost import lost_cause
from finetune_operator.settings import PlanSettings
from finetune_sdk.api import reasons

SERVER_ERROR = 500
"""From here on the API server says that it is its own fault, or a webhook's."""


def in_the_way(observed: Observed, settings: PlanSettings, now: datetime) -> Cause | None:
    """The cause; None where the Job can be made now."""
    name, job, living = observed.run.key.name, observed.job, observed.living_pods
    if (lost := lost_cause(living, settings, now)) is not None:
        return lost
    if living:
        names, ends = ", ".join(pod.name for pod in living), _ending(living[0])
        return Cause(reasons.WAITING_FOR_PREVIOUS_PODS, f"pod {names} of an earlier start must end first{ends}")
    if job is None:
        return None
    if job.deleting or job.run_uid == observed.run.uid or (job.run == name and job.run_uid):
        said = f"Job {job.name} of an earlier start must be gone first; Kubernetes deletes it in the background"
        return Cause(reasons.WAITING_FOR_PREVIOUS_PODS, said)
    return Cause(
        reasons.JOB_REJECTED,
        f"a Job {job_name(name)} that is not this run's exists: delete it (kubectl delete job {job.name} -n "
        f"{observed.run.key.namespace}), or give the run another metadata.name",
    )


def refused(observed: Observed, settings: PlanSettings, now: datetime) -> tuple[Cause, datetime] | None:
    """What the API server said when the Job was made or changed last, and when to try again; None: now."""
    rejection = observed.rejection
    if rejection is None:
        return None
    again = rejection.at.replace(microsecond=0) + settings.look_again
    if not now < again <= now + settings.look_again:  # also where the clock was set back
        return None
    return Cause(reasons.JOB_REJECTED, _refusal(rejection, change=observed.own_job is not None)), again


def _refusal(rejection: Rejection, *, change: bool) -> str:
    """`change`: of a Job that is there."""
    failed = rejection.code >= SERVER_ERROR
    does, what = "cannot take" if failed else "refuses", "a change of the Job" if change else "the Job"
    told = f"the API server {does} {what}: {rejection.message.strip() or f'status {rejection.code}'}. It is tried again"
    if failed or change:
        return told
    return f"{told}; where the cause is a field of spec.compute, delete the run and apply the mended file"


def _ending(pod: PodView) -> str:
    if pod.deleting:
        return ": it saves, which takes its grace period at most"
    return f": where it does not end by itself, kubectl delete pod {pod.name}"
