"""Why a pod does not run yet, in the words of who holds it back, and what would help."""

import re

from finetune_operator.model import EventView, JobView, Observed, PodView
from finetune_operator.policies.cause import Cause, joined
from finetune_operator.policies.hints import missing_hint, refusal_hint, scheduling_hint
from finetune_sdk.api import reasons
from finetune_sdk.api.run import FinetuneRunSpec

_PULLING = (
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError", "SignatureValidationFailed",
)  # fmt: skip
_MAKING = ("CreateContainerConfigError", "CreateContainerError")
_MOUNTING = ("FailedMount", "FailedAttachVolume")
_AGAIN = re.compile(r'^Back-off pulling image "[^"]*": (ErrImagePull: )?')
"""The kubelet says the same by turns with and without these words: one message means one status write."""
_CREATING = re.compile(r"^(\(combined from similar events\): )?Error creating: ")
_POD_NAME = re.compile(r'pods "[^"]*" is forbidden')
"""A new name with each try."""
QUIET = Cause("", "the pod starts")


def why_not_running(observed: Observed, job: JobView, pod: PodView | None, spec: FinetuneRunSpec) -> Cause:
    """The cause; QUIET where there is none to tell. `pod` is the one that is to run; None: it is not made yet."""
    if pod is None:
        return _rejected(observed, job)
    unscheduled = pod.conditions.get("PodScheduled")
    if unscheduled is not None and not unscheduled.true:
        said = f"no node fits: {unscheduled.message.strip() or unscheduled.reason}"
        return Cause(reasons.UNSCHEDULABLE, joined(said, scheduling_hint(said, spec)))
    kind, said = pod.waiting
    if kind in _PULLING:
        return _not_pulled(job.image, _AGAIN.sub("", said) or kind, spec)
    if kind in _MAKING:
        said = f"the container cannot be made: {said}"
        return Cause(reasons.VOLUME_MOUNT_FAILED, joined(said, missing_hint(said, spec, observed.run.key.namespace)))
    mounted = pod.conditions.get("PodReadyToStartContainers")
    mount = _last(observed.events, pod.uid, _MOUNTING)
    if mount is not None and (mounted is None or not mounted.true):
        said = mount.message
        return Cause(reasons.VOLUME_MOUNT_FAILED, joined(said, missing_hint(said, spec, observed.run.key.namespace)))
    return QUIET


def _not_pulled(image: str, said: str, spec: FinetuneRunSpec) -> Cause:
    where = "spec.compute.image" if spec.compute.image else "the operator's trainer image, or name one in "
    helps = where if spec.compute.image else f"{where}spec.compute.image"
    return Cause(
        reasons.IMAGE_PULL_FAILED,
        f"image {image} cannot be pulled ({said}): look at {helps}, and at spec.compute.imagePullSecrets where the "
        "registry asks who pulls",
    )


def _rejected(observed: Observed, job: JobView) -> Cause:
    event = _last(observed.events, job.uid, ("FailedCreate",))
    if event is None or _is_answered(event, observed, job):
        return QUIET
    said = _POD_NAME.sub("it is forbidden", _CREATING.sub("", event.message))
    return Cause(reasons.POD_REJECTED, joined(f"the API server refuses the pod: {said}", refusal_hint(said)))


def _is_answered(event: EventView, observed: Observed, job: JobView) -> bool:
    """Whether a pod was made since: Events outlive by an hour what they tell of."""
    newest = observed.run.status.pod
    made = [pod.created_at for pod in observed.own_pods if pod.job_uid == job.uid]
    known = [newest.started_at] if newest is not None else []
    return any(event.at <= at for at in (*made, *known))


def _last(events: tuple[EventView, ...], uid: str, kinds: tuple[str, ...]) -> EventView | None:
    return next((event for event in reversed(events) if event.uid == uid and event.reason in kinds), None)
