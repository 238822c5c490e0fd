"""Times that add up over suspends: waiting, which startDeadlineSeconds bounds, and training, activeDeadlineSeconds."""

from datetime import datetime, timedelta
from typing import Any

from finetune_sdk.api.lifecycle import Lifecycle
from finetune_sdk.api.status import FinetuneRunStatus

Changes = dict[str, Any]
WAITING_STATES = ("Pending", "Starting", "Queued")
ACTIVE_STATES = ("Running", "Retrying", "Suspending")


def clocks(status: FinetuneRunStatus, state: str, now: datetime) -> Changes:
    """What of both clocks changes when the run goes on as `state`."""
    waits = state in WAITING_STATES and status.start_time is None
    active = state in ACTIVE_STATES or (state == "Starting" and status.start_time is not None)
    return {
        **_clock(status, "waiting", waits, now),
        **_clock(status, "active", active, now),
    }


def _clock(status: FinetuneRunStatus, name: str, runs: bool, now: datetime) -> Changes:
    since: datetime | None = getattr(status, f"{name}_since")
    total: float = getattr(status, f"{name}_seconds")
    if runs:
        return {} if since is not None else {f"{name}_since": now}
    if since is None:
        return {}
    return {f"{name}_since": None, f"{name}_seconds": round(total + (now - since).total_seconds(), 1)}


def active_seconds(status: FinetuneRunStatus, now: datetime) -> float:
    """Active time up to `now`."""
    running = (now - status.active_since).total_seconds() if status.active_since else 0.0
    return status.active_seconds + running


def start_deadline(status: FinetuneRunStatus, lifecycle: Lifecycle) -> datetime | None:
    """When waiting has lasted too long; None where no clock runs."""
    return _deadline(status.waiting_since, status.waiting_seconds, lifecycle.start_deadline_seconds)


def active_deadline(status: FinetuneRunStatus, lifecycle: Lifecycle) -> datetime | None:
    """When training has lasted too long; None where no clock runs."""
    return _deadline(status.active_since, status.active_seconds, lifecycle.active_deadline_seconds)


def _deadline(since: datetime | None, spent: float, allowed: int | None) -> datetime | None:
    if since is None or allowed is None:
        return None
    return since + timedelta(seconds=max(0.0, allowed - spent))
