"""Pods on nodes that do not answer: they can neither be ended nor be confirmed dead."""

from collections.abc import Iterable
from datetime import datetime

from finetune_operator.model import PodView
from finetune_operator.policies.cause import Cause
from finetune_operator.settings import PlanSettings
from finetune_sdk.api import reasons


def lost_at(pod: PodView, settings: PlanSettings) -> datetime | None:
    """When a pod that is being deleted will have to be called lost; all else that may come is told by watches."""
    if not pod.living or pod.deletion_at is None:
        return None
    return pod.deletion_at.replace(microsecond=0) + settings.lost_after


def lost_cause(pods: Iterable[PodView], settings: PlanSettings, now: datetime) -> Cause | None:
    """What to say of the first of `pods` that is past its grace period on a node that does not answer."""
    for pod in pods:
        at = lost_at(pod, settings)
        if at is not None and now >= at:
            return Cause(
                reasons.NODE_LOST,
                f"node {pod.node} does not answer, and pod {pod.name} cannot be confirmed dead: bring the node back, "
                "or say that it is gone: "
                f"kubectl taint node {pod.node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
            )
    return None


def next_loss(pods: Iterable[PodView], settings: PlanSettings, now: datetime) -> datetime | None:
    """When the next of `pods` will have to be called lost."""
    moments = (lost_at(pod, settings) for pod in pods)
    return min((at for at in moments if at is not None and at > now), default=None)
