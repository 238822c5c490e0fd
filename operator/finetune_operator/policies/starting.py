"""Why a pod does not run yet, in the words of who holds it back, and what would help."""

from finetune_operator.manifests.pod import secret_name
from finetune_operator.model import EventView, JobView, Observed, PodView
from finetune_operator.policies.cause import Cause
from finetune_sdk.api import reasons
from finetune_sdk.api.run import FinetuneRunSpec

_PULLING = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_MOUNTING = ("FailedMount", "FailedAttachVolume")
QUIET = Cause("", "the pod starts")


def why_not_running(observed: Observed, job: JobView, pod: PodView | None, spec: FinetuneRunSpec) -> Cause:
    """The cause; QUIET where there is none to tell."""
    if pod is None:
        return _rejected(observed, job)
    unscheduled = pod.conditions.get("PodScheduled")
    if unscheduled is not None and not unscheduled.true:
        return Cause(reasons.UNSCHEDULABLE, f"no node fits: {unscheduled.message}")
    if pod.waiting[0] in _PULLING:
        return Cause(
            reasons.IMAGE_PULL_FAILED,
            f"the trainer image cannot be pulled ({pod.waiting[1] or pod.waiting[0]}): look at spec.compute.image and "
            "spec.compute.imagePullSecrets",
        )
    if pod.waiting[0] == "CreateContainerConfigError":
        return Cause(
            reasons.VOLUME_MOUNT_FAILED,
            f"the container cannot be made: {pod.waiting[1]}{_remedy(pod.waiting[1], spec)}",
        )
    if (mount := _last(observed.events, pod.uid, _MOUNTING)) is not None:
        return Cause(reasons.VOLUME_MOUNT_FAILED, f"{mount.message}{_remedy(mount.message, spec)}")
    return QUIET


def _rejected(observed: Observed, job: JobView) -> Cause:
    event = _last(observed.events, job.uid, ("FailedCreate",))
    if event is None:
        return QUIET
    return Cause(
        reasons.POD_REJECTED,
        f"the API server refuses the pod: {event.message.removeprefix('Error creating: ')}. Raise the quota, or change "
        "spec.compute so that the pod is allowed",
    )


def _last(events: tuple[EventView, ...], uid: str, kinds: tuple[str, ...]) -> EventView | None:
    return next((event for event in reversed(events) if event.uid == uid and event.reason in kinds), None)


def _remedy(message: str, spec: FinetuneRunSpec) -> str:
    """The command that makes the storage Secret, where that is what is missing."""
    name = secret_name(spec)
    if name is None or f'"{name}" not found' not in message:
        return ""
    return (
        ". Make the Secret: kubectl create secret generic "
        f"{name} --from-literal=endpoint=URL --from-literal=accessKey=KEY --from-literal=secretKey=SECRET"
    )
