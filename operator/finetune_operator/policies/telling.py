"""Which turns are told as Events: those that a person would want to know of, one for each."""

from datetime import datetime, timedelta

from finetune_operator.actions import Tell
from finetune_sdk.api import reasons
from finetune_sdk.api.status import FinetuneRunStatus

RECENT = timedelta(minutes=10)
STARTED = "Started"
UNDER_WAY = ("Starting", "Running")
"""Running at once where the operator was away while the pod started."""


def tell_of(before: FinetuneRunStatus, status: FinetuneRunStatus) -> Tell | None:
    """What to tell of the turn from `before` to `status`."""
    if (before.state, before.reason) == (status.state, status.reason):
        return None
    if (tell := _standing(status)) is not None:
        return tell
    if status.reason == reasons.QUEUED_FOR_QUOTA:
        return Tell("Normal", status.reason, status.message)
    if status.reason and status.reason != reasons.WAITING_FOR_PREVIOUS_PODS:
        return Tell("Warning", status.reason, status.message)
    if before.state == "Pending" and status.state in UNDER_WAY:
        return _started(status)
    return None


def tell_again(status: FinetuneRunStatus, now: datetime) -> Tell | None:
    """What an operator before this one may have died before telling: the last turn, if it is of late.

    Telling twice is no harm, as an Event's name is made of its turn.
    """
    turns = [condition.last_transition_time for condition in status.conditions if condition.last_transition_time]
    if not turns or now - max(turns) > RECENT:
        return None
    if status.state in UNDER_WAY and not status.reason:
        return _started(status)
    return _standing(status)


def _standing(status: FinetuneRunStatus) -> Tell | None:
    if status.state == "Succeeded":
        return Tell("Normal", "Succeeded", status.message)
    if status.state == "Failed":
        return Tell("Warning", status.reason, status.message)
    if status.state == "Suspended":
        return Tell("Normal", "Suspended", status.message)
    return None


def _started(status: FinetuneRunStatus) -> Tell:
    return Tell("Normal", STARTED, f"made Job {status.job_name}")
