"""The Job of a run. Pods meet the `restricted` Pod Security Standard and hold no Kubernetes right."""

from kubernetes.client import (
    V1Job,
    V1JobSpec,
    V1ObjectMeta,
    V1OwnerReference,
    V1PodFailurePolicy,
    V1PodFailurePolicyOnExitCodesRequirement,
    V1PodFailurePolicyOnPodConditionsPattern,
    V1PodFailurePolicyRule,
)

from finetune_operator.manifests.pod import build_pod_template
from finetune_operator.model import QUEUE_LABEL, RunView
from finetune_operator.settings import PlanSettings
from finetune_sdk.api.run import GROUP, KIND, VERSION, FinetuneRunSpec
from finetune_sdk.contract import CONTAINER, MANAGED_BY, MANAGED_BY_LABEL, RUN_LABEL, RUN_UID_LABEL

PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
FINAL_CODES = [64, 65, 71, 76, 77, 78, 79, 80]
"""Exit codes after which the same start cannot help."""
STOPPED_CODE = 75
"""Stopped from outside, saved: neither a failure nor counted as one."""


def job_name(run: str) -> str:
    """The name of a run's Job."""
    return f"{run}-trainer"


def build_job(run: RunView, spec: FinetuneRunSpec, settings: PlanSettings, *, image: str, attempt: int) -> V1Job:
    """The Job that carries `run` out; `attempt` counts the Jobs made for it, from 1."""
    return V1Job(
        api_version="batch/v1",
        kind="Job",
        metadata=V1ObjectMeta(
            name=job_name(run.key.name),
            namespace=run.key.namespace,
            labels={**labels_of(run), **_queue_labels(run)},
            owner_references=[_owner(run)],
        ),
        spec=V1JobSpec(
            backoff_limit=spec.lifecycle.max_retries,
            pod_replacement_policy="Failed",
            pod_failure_policy=_failure_policy(),
            suspend=bool(run.queue),
            template=build_pod_template(run, spec, settings, image=image, attempt=attempt, labels=labels_of(run)),
        ),
    )


def labels_of(run: RunView) -> dict[str, str]:
    """What Jobs and pods of a run are found by."""
    return {MANAGED_BY_LABEL: MANAGED_BY, RUN_LABEL: run.key.name, RUN_UID_LABEL: run.uid}


def _queue_labels(run: RunView) -> dict[str, str]:
    return {name: run.labels[name] for name in (QUEUE_LABEL, PRIORITY_LABEL) if name in run.labels}


def _owner(run: RunView) -> V1OwnerReference:
    return V1OwnerReference(
        api_version=f"{GROUP}/{VERSION}",
        kind=KIND,
        name=run.key.name,
        uid=run.uid,
        controller=True,
        block_owner_deletion=True,
    )


def _failure_policy() -> V1PodFailurePolicy:
    """Codes that are final end the Job; what came from outside is not counted; all else is a failure to retry."""
    disruption = V1PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")
    return V1PodFailurePolicy(
        rules=[
            V1PodFailurePolicyRule(action="FailJob", on_exit_codes=_codes(FINAL_CODES)),
            V1PodFailurePolicyRule(action="Ignore", on_pod_conditions=[disruption]),
            V1PodFailurePolicyRule(action="Ignore", on_exit_codes=_codes([STOPPED_CODE])),
        ]
    )


def _codes(values: list[int]) -> V1PodFailurePolicyOnExitCodesRequirement:
    return V1PodFailurePolicyOnExitCodesRequirement(container_name=CONTAINER, operator="In", values=values)
