"""Conditions, for `kubectl wait` and kstatus. A condition's time is that of its status, not of its words."""

from collections.abc import Iterator
from datetime import datetime

from finetune_sdk.api import reasons
from finetune_sdk.api.status import Condition, ConditionType, FinetuneRunStatus
from finetune_sdk.errors import GateNotMet

_UNREACHABLE = (
    "the trainer's port 8080 cannot be reached from the operator: look for a NetworkPolicy or a service mesh between "
    "the two namespaces. Training goes on, and its result will be read from the pod's end"
)
Said = tuple[ConditionType, str, str, str]
"""Type, status, reason, message."""


def conditions_for(
    status: FinetuneRunStatus, *, gated: bool, reporting: bool | None, generation: int, now: datetime
) -> list[Condition]:
    """All conditions of a run whose other fields are `status`."""
    before = {condition.type: condition for condition in status.conditions}
    said = (*_standing(status), *_gate(status, gated), *_reporting(status, reporting, before))
    return [_condition(one, before.get(one[0]), generation, now) for one in said]


def followed(conditions: list[Condition], generation: int) -> list[Condition]:
    """The same conditions of a newer generation: `kubectl wait` takes none that speaks of an older one."""
    return [condition.model_copy(update={"observed_generation": generation}) for condition in conditions]


def _condition(said: Said, before: Condition | None, generation: int, now: datetime) -> Condition:
    kind, holds, reason, message = said
    same = before is not None and before.status == holds and before.last_transition_time is not None
    return Condition(
        type=kind,
        status=holds,
        reason=reason,
        message=message[:4096],
        observed_generation=generation,
        last_transition_time=before.last_transition_time if same and before else now,
    )


def _standing(status: FinetuneRunStatus) -> Iterator[Said]:
    state, reason, message = status.state, status.reason, status.message
    yield from _acceptance(status)
    yield "Suspended", "True" if state == "Suspended" else "False", state, ""
    if state == "Succeeded":
        yield "Succeeded", "True", reason or state, message
    elif state == "Failed":
        yield "Succeeded", "False", reason, message
        yield "Stalled", "True", reason, message
    else:
        yield "Succeeded", "Unknown", reason or state, message


def _acceptance(status: FinetuneRunStatus) -> Iterator[Said]:
    """A Job is a spec that was accepted; until there is one the run is being reconciled."""
    reason, message = status.reason or status.state, status.message
    if status.state == "Pending":
        yield "Accepted", "Unknown", reason, message
        yield "Reconciling", "True", reason, message
    elif status.state == "Failed" and status.job_uid is None:
        refused = status.reason in (reasons.INVALID_SPEC, reasons.JOB_REJECTED)
        yield "Accepted", "False" if refused else "Unknown", reason, message
    else:
        yield "Accepted", "True", "Accepted", ""


def _gate(status: FinetuneRunStatus, gated: bool) -> Iterator[Said]:
    if gated and status.state == "Succeeded":
        yield "GatePassed", "True", "GatePassed", ""
    elif status.reason == GateNotMet.reason:
        yield "GatePassed", "False", status.reason, status.message


def _reporting(
    status: FinetuneRunStatus, reporting: bool | None, before: dict[ConditionType, Condition]
) -> Iterator[Said]:
    """Kept as it was where nothing new is known of a running trainer."""
    if status.state != "Running":
        return
    if reporting is None:
        if (known := before.get("ProgressReporting")) is not None:
            yield "ProgressReporting", known.status, known.reason, known.message
    elif reporting:
        yield "ProgressReporting", "True", "Reporting", ""
    else:
        yield (
            "ProgressReporting",
            "False",
            "Unreachable",
            _UNREACHABLE,
        )
