"""Why an attempt ended. In this order: out of memory, the termination message, the last progress, the exit code."""

import re
from dataclasses import dataclass, replace

from finetune_operator.manifests.pod import requests_of, shared_memory_of
from finetune_operator.model import JobView, Observed, PodView
from finetune_operator.policies.remedies import afterwards, remedy_of
from finetune_operator.settings import PlanSettings
from finetune_sdk.api import reasons
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.contract import CONTAINER, Termination
from finetune_sdk.errors import Stopped

DISRUPTION = "DisruptionTarget"
OUT_OF_MEMORY_KILLED = "OOMKilled"
RETRIES_ARE_USED_UP = "BackoffLimitExceeded"
GAP = "Kubernetes waits before the next one: 11 s at first, twice as long each time, 10 min at most"
GOES_ON = "the next one goes on from the last checkpoint"
_CODE = re.compile(rf"Container {CONTAINER} for pod \S+ failed with exit code (\d+)")
BY_CODE = {
    64: reasons.INVALID_SPEC,
    65: reasons.DATA_INVALID,
    69: reasons.STORAGE_UNAVAILABLE,
    70: reasons.TRAINER_ERROR,
    71: reasons.DIVERGED,
    74: reasons.HUNG,
    76: reasons.GPU_UNAVAILABLE,
    77: reasons.STORAGE_DENIED,
    78: reasons.OUTPUT_IN_USE,
    79: reasons.OUT_OF_GPU_MEMORY,
    80: reasons.GATE_NOT_MET,
}
ENDS = reasons.TERMINAL | reasons.TERMINAL_AFTER_RETRIES
"""Reasons that a failed run may have for how its trainer ended."""
_TAIL = 1500
"""Characters of a log's end that a message repeats."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an attempt ended, or why it cannot begin."""

    reason: str
    message: str
    termination: Termination | None = None


def cause_of_pod(pod: PodView, observed: Observed, spec: FinetuneRunSpec, settings: PlanSettings) -> Cause:
    """Why `pod`, which has ended or is being deleted, did so."""
    if (killed := _out_of_memory(pod, observed, spec, settings)) is not None:
        return killed
    if (disrupted := _disruption(pod)) is not None:
        return disrupted
    if (ended := _own_end(pod, observed, spec, settings)) is not None:
        return ended
    if pod.phase == "Failed":
        said = f"{pod.reason}: {pod.message.strip()}".strip(": ") or "it does not say why"
        return Cause(reasons.BACKING_OFF, f"node {pod.node} refused or ended pod {pod.name} ({said}); {GAP}")
    return Cause(reasons.BACKING_OFF, f"pod {pod.name} was deleted; {GOES_ON}")


def cause_of_job(job: JobView, observed: Observed, spec: FinetuneRunSpec, settings: PlanSettings) -> Cause:
    """Why `job` failed for good: from its pods, from what is known of those that are gone, or from the Job itself."""
    found = _found_cause(job, observed, spec, settings)
    spent = spec.lifecycle.max_retries if job.conditions["Failed"].reason == RETRIES_ARE_USED_UP else None
    return replace(found, message=joined(found.message, afterwards(found.reason, spent)))


def _found_cause(job: JobView, observed: Observed, spec: FinetuneRunSpec, settings: PlanSettings) -> Cause:
    pods = [pod for pod in observed.own_pods if pod.job_uid == job.uid and not pod.living]
    for pod in pods:
        if (killed := _out_of_memory(pod, observed, spec, settings)) is not None:
            return killed
    condition = job.conditions["Failed"]
    code = _CODE.search(condition.message)
    for _, pod in sorted(enumerate(pods), key=lambda one: (_is_beside_the_point(one[1], code), -one[0])):
        ended = _own_end(pod, observed, spec, settings)
        if ended is not None and ended.reason in ENDS:
            return ended
    if (told := _last_progress(job, observed)) is not None and told.reason in ENDS:
        return Cause(told.reason, told.message, told)
    latched = observed.run.status
    if latched.state == "Retrying" and latched.reason in reasons.TERMINAL_AFTER_RETRIES:
        return Cause(latched.reason, latched.message)
    if code is not None:
        return _by_code(int(code[1]), "", spec)
    if pods:
        last = cause_of_pod(pods[-1], observed, spec, settings)
        return Cause(reasons.RETRIES_EXHAUSTED, f"no attempt came to an end of its own. Of the last: {last.message}")
    return Cause(reasons.RETRIES_EXHAUSTED, f"the Job failed, and no pod is left to say why: {condition.message}")


def _is_beside_the_point(pod: PodView, code: re.Match[str] | None) -> bool:
    """Whether it was not this pod that made the Job fail: another code did, or it was disrupted and not counted."""
    if code is not None:
        return pod.ended is None or pod.ended.exit_code != int(code[1])
    return _disruption(pod) is not None


def termination_of(pod: PodView, observed: Observed) -> Termination | None:
    """What the trainer itself said at its end."""
    if pod.ended is not None and (said := Termination.parse(pod.ended.message)) is not None:
        return said
    polled = observed.polled
    if polled is not None and polled.pod_uid == pod.uid and polled.report is not None:
        return polled.report.ended
    return None


def result_told(job: JobView, observed: Observed) -> Termination | None:
    """What the trainer said of its success, to the kubelet or, where no pod is left, to the last poll."""
    pods = [pod for pod in observed.own_pods if pod.job_uid == job.uid and pod.phase == "Succeeded"]
    told = termination_of(pods[-1], observed) if pods else _last_progress(job, observed)
    return told if told is not None and told.exit_code == 0 else None


def joined(message: str, more: str) -> str:
    """Two sentences, or the one that is there."""
    message = message.rstrip()
    if not message or not more:
        return message or more
    more = more if more.startswith("spec.") else f"{more[0].upper()}{more[1:]}"
    return f"{message}{'' if message[-1] in '.?!' else '.'} {more}"


def _last_progress(job: JobView, observed: Observed) -> Termination | None:
    """What the newest attempt of `job` said at its end when it was last asked, also where its pod is gone."""
    polled, status = observed.polled, observed.run.status
    if status.pod is None or status.job_uid != job.uid:  # of before a restart
        return None
    if polled is None or polled.report is None or polled.pod_uid != status.pod.uid:
        return None
    return polled.report.ended


def _out_of_memory(pod: PodView, observed: Observed, spec: FinetuneRunSpec, settings: PlanSettings) -> Cause | None:
    """The kernel ended the trainer at its limit of memory: it says so before any exit code."""
    killed = pod.ended is not None and pod.ended.reason == OUT_OF_MEMORY_KILLED
    told = termination_of(pod, observed)
    if not killed and (told is None or told.reason != reasons.OUT_OF_MEMORY):
        return None
    limit = requests_of(spec.compute, settings).get("memory", "its limit")
    return Cause(
        reasons.OUT_OF_MEMORY,
        f"the trainer needed more memory than {limit}: raise spec.compute.resources.requests.memory and apply the run "
        "again with the same output.uri; it goes on from its checkpoint",
    )


def _own_end(pod: PodView, observed: Observed, spec: FinetuneRunSpec, settings: PlanSettings) -> Cause | None:
    """How the trainer ended by what it did or used; None where it did not."""
    if (evicted := _eviction(pod, spec, settings)) is not None:
        return evicted
    told = termination_of(pod, observed)
    if told is not None and told.reason != Stopped.reason and told.exit_code != 0:
        return Cause(told.reason, told.message, told)
    if pod.ended is None:
        return None
    if pod.ended.exit_code == Stopped.exit_code:
        return Cause(reasons.BACKING_OFF, f"pod {pod.name} was stopped from outside and has saved; {GAP}")
    return _by_code(pod.ended.exit_code, pod.ended.message, spec)


def is_disrupted(pod: PodView) -> bool:
    """Whether `pod` was ended from outside, which is not counted as a failure."""
    disrupted = pod.conditions.get(DISRUPTION)
    return disrupted is not None and disrupted.true


def _disruption(pod: PodView) -> Cause | None:
    if not is_disrupted(pod):
        return None
    disrupted = pod.conditions[DISRUPTION]
    if disrupted.reason in ("PreemptionByScheduler", "PreemptionByKueue"):
        return Cause(
            reasons.PREEMPTED,
            f"a pod of higher priority took the place of {pod.name}; {GOES_ON} once there is room. A higher "
            "spec.compute.priorityClassName is preempted later",
        )
    if disrupted.reason in ("DeletionByTaintManager", "DeletionByPodGC"):
        return Cause(
            reasons.NODE_LOST,
            f"node {pod.node} was lost, drained or tainted: kubectl describe node {pod.node} tells more; {GOES_ON}",
        )
    return Cause(reasons.BACKING_OFF, f"pod {pod.name} was ended from outside ({disrupted.message.strip()}); {GOES_ON}")


def _eviction(pod: PodView, spec: FinetuneRunSpec, settings: PlanSettings) -> Cause | None:
    """The kubelet ended the pod for what it used beyond its limits; such a pod is no DisruptionTarget."""
    if pod.reason != "Evicted":
        return None
    again = "and apply the run again with the same output.uri; it goes on from its checkpoint"
    if "finetune-shm" in pod.message or "Memory medium" in pod.message:
        size = shared_memory_of(spec.compute, settings)
        said = f"the shared memory of {size} is full: raise spec.compute.sharedMemory {again}"
        return Cause(reasons.SHARED_MEMORY_EXHAUSTED, said)
    if "ephemeral" in pod.message or "EmptyDir" in pod.message:
        disk = requests_of(spec.compute, settings).get("ephemeral-storage", "its limit")
        field = "spec.compute.resources.requests.ephemeral-storage"
        said = f"the scratch disk of {disk} is full ({pod.message.strip()}): raise {field} {again}"
        return Cause(reasons.EPHEMERAL_STORAGE_EXCEEDED, said)
    return None


def _by_code(code: int, said: str, spec: FinetuneRunSpec) -> Cause:
    tail = said.strip()[-_TAIL:]
    if code in BY_CODE:
        reason = BY_CODE[code]
        ended = f"the trainer ended with exit code {code}" + (f": {tail}" if tail else "")
        return Cause(reason, joined(ended, remedy_of(reason, spec)))
    image = spec.compute.image
    return Cause(
        reasons.RETRIES_EXHAUSTED,
        f"the container ended with exit code {code}{_signal(code)} and did not say why"
        + (f": {tail}" if tail else f"; is {image or 'the image'} of spec.compute.image a trainer image?"),
    )


def _signal(code: int) -> str:
    """What the codes of the two commonest signals mean."""
    return {137: " (killed; the node may be short of memory)", 139: " (a crash in native code)"}.get(code, "")
