"""Why an attempt ended. In this order: out of memory, the termination message, the last progress, the exit code."""

import re
from dataclasses import dataclass

from finetune_operator.manifests.pod import requests_of, shared_memory_of
from finetune_operator.model import JobView, Observed, PodView
from finetune_operator.settings import PlanSettings
from finetune_sdk.api import reasons
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.contract import CONTAINER, Termination

OUT_OF_MEMORY_KILLED = "OOMKilled"
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
    ended = pod.ended
    if ended is not None and ended.reason == OUT_OF_MEMORY_KILLED:
        return out_of_memory(spec, settings)
    termination = termination_of(pod, observed)
    if termination is not None and termination.reason == reasons.OUT_OF_MEMORY:
        return out_of_memory(spec, settings)
    if (disrupted := _disruption(pod)) is not None:
        return disrupted
    if (evicted := _eviction(pod, spec, settings)) is not None:
        return evicted
    if termination is not None and termination.reason != "Stopped":
        return Cause(termination.reason, termination.message, termination)
    if ended is None:
        return Cause(reasons.BACKING_OFF, f"pod {pod.name} was deleted; the next one goes on from the last checkpoint")
    return _by_code(ended.exit_code, ended.message, pod.name)


def cause_of_job(job: JobView, observed: Observed, spec: FinetuneRunSpec, settings: PlanSettings) -> Cause:
    """Why `job` failed for good: from its last pod, or where no pod is left, from what the Job itself says."""
    pods = [pod for pod in observed.own_pods if pod.job_uid == job.uid and pod.ended is not None]
    condition = job.conditions["Failed"]
    code = _CODE.search(condition.message)
    if any(pod.ended is not None and pod.ended.reason == OUT_OF_MEMORY_KILLED for pod in pods):
        return out_of_memory(spec, settings)
    if pods:
        return cause_of_pod(pods[-1], observed, spec, settings)
    latched = observed.run.status
    if latched.state == "Retrying" and latched.reason in reasons.TERMINAL_AFTER_RETRIES:
        return Cause(latched.reason, latched.message)
    if code is not None:
        return _by_code(int(code[1]), "", "")
    return Cause(reasons.RETRIES_EXHAUSTED, f"the Job failed, and no pod is left to say why: {condition.message}")


def termination_of(pod: PodView, observed: Observed) -> Termination | None:
    """What the trainer itself said at its end."""
    if pod.ended is not None and (said := Termination.parse(pod.ended.message)) is not None:
        return said
    polled = observed.polled
    if polled is not None and polled.pod_uid == pod.uid and polled.report is not None:
        return polled.report.ended
    return None


def out_of_memory(spec: FinetuneRunSpec, settings: PlanSettings) -> Cause:
    """The kernel ended the trainer at its limit of memory."""
    limit = requests_of(spec.compute, settings).get("memory", "its limit")
    return Cause(
        reasons.OUT_OF_MEMORY,
        f"the trainer needed more memory than {limit}: raise spec.compute.resources.requests.memory and apply the run "
        "again with the same output.uri; it goes on from its checkpoint",
    )


def _disruption(pod: PodView) -> Cause | None:
    disrupted = pod.conditions.get("DisruptionTarget")
    if disrupted is None or not disrupted.true:
        return None
    goes_on = "the next pod goes on from the last checkpoint"
    if disrupted.reason in ("PreemptionByScheduler", "PreemptionByKueue"):
        return Cause(reasons.PREEMPTED, f"a pod of higher priority took the place of {pod.name}; {goes_on}")
    if disrupted.reason == "DeletionByTaintManager":
        return Cause(reasons.NODE_LOST, f"node {pod.node} was lost or drained by a taint; {goes_on}")
    return Cause(reasons.BACKING_OFF, f"pod {pod.name} was ended from outside ({disrupted.message}); {goes_on}")


def _eviction(pod: PodView, spec: FinetuneRunSpec, settings: PlanSettings) -> Cause | None:
    """The kubelet ended the pod for what it used."""
    if pod.reason != "Evicted":
        return None
    if "finetune-shm" in pod.message or "Memory medium" in pod.message:
        size = shared_memory_of(spec.compute, settings)
        return Cause(
            reasons.SHARED_MEMORY_EXHAUSTED, f"the shared memory of {size} is full: raise spec.compute.sharedMemory"
        )
    if "ephemeral" in pod.message or "EmptyDir" in pod.message:
        disk = requests_of(spec.compute, settings).get("ephemeral-storage", "its limit")
        return Cause(
            reasons.EPHEMERAL_STORAGE_EXCEEDED,
            f"the scratch disk of {disk} is full: raise spec.compute.resources.requests.ephemeral-storage "
            f"({pod.message.strip()})",
        )
    return Cause(reasons.BACKING_OFF, f"node {pod.node} evicted pod {pod.name}: {pod.message.strip()}")


def _by_code(code: int, said: str, pod: str) -> Cause:
    if code == 75:
        return Cause(
            reasons.BACKING_OFF,
            f"pod {pod} was stopped from outside and has saved; Kubernetes waits 11 s to 10 min before the next one",
        )
    tail = f": {said.strip()[-_TAIL:]}" if said.strip() else "; see `kubectl logs`"
    if code in BY_CODE:
        return Cause(BY_CODE[code], f"the trainer ended with exit code {code}{tail}")
    return Cause(
        reasons.RETRIES_EXHAUSTED,
        f"the container ended with exit code {code} and did not say why{tail}",
    )
