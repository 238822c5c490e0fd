"""Times that add up over suspends: waiting, which startDeadlineSeconds bounds, and training, activeDeadlineSeconds.

Clocks of two machines may differ, and one may be set back: time that has passed never shrinks.
"""

import math
from datetime import datetime, timedelta
from typing import Any

from finetune_sdk.api.lifecycle import Lifecycle
from finetune_sdk.api.status import FinetuneRunStatus

Changes = dict[str, Any]
WAITING_STATES = ("Pending", "Starting", "Queued")
WORKING_STATES = ("Running", "Retrying", "Suspending")


def clocks(status: FinetuneRunStatus, state: str, now: datetime, started: datetime | None = None) -> Changes:
    """What of both clocks changes when the run goes on as `state`; `started` is when its first trainer did, if new."""
    begun = status.start_time is not None
    since = min(started, now) if started is not None else now
    if state in WAITING_STATES:
        runs = "active" if begun and state == "Starting" else None if begun else "waiting"
    elif state in WORKING_STATES:
        runs = "active" if begun or started is not None else "waiting" if state == "Retrying" else None
    else:
        runs = None
    missed = _between(since, now) if started is not None and not begun and runs is None else 0.0
    return {
        **_clock(status, "waiting", runs == "waiting", now, since if started is not None else now, 0.0),
        **_clock(status, "active", runs == "active", since, now, missed),
    }


def _clock(
    status: FinetuneRunStatus, name: str, runs: bool, begins: datetime, ends: datetime, missed: float
) -> Changes:
    """`missed` is time that passed while nobody looked."""
    since: datetime | None = getattr(status, f"{name}_since")
    total: float = getattr(status, f"{name}_seconds")
    if runs:
        return {} if since is not None else {f"{name}_since": begins}
    if since is None:
        return {f"{name}_seconds": round(total + missed, 1)} if missed else {}
    return {f"{name}_since": None, f"{name}_seconds": round(total + _between(since, ends), 1)}


def active_seconds(status: FinetuneRunStatus, now: datetime) -> float:
    """Active time up to `now`."""
    return status.active_seconds + _between(status.active_since, now)


def waiting_seconds(status: FinetuneRunStatus, now: datetime) -> float:
    """Unsuspended time without a trainer up to `now`."""
    return status.waiting_seconds + _between(status.waiting_since, now)


def start_deadline(status: FinetuneRunStatus, lifecycle: Lifecycle) -> datetime | None:
    """When waiting will have lasted too long; None where no clock runs."""
    return _deadline(status.waiting_since, status.waiting_seconds, lifecycle.start_deadline_seconds)


def active_deadline(status: FinetuneRunStatus, lifecycle: Lifecycle) -> datetime | None:
    """When training will have lasted too long; None where no clock runs."""
    return _deadline(status.active_since, status.active_seconds, lifecycle.active_deadline_seconds)


def _between(since: datetime | None, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds()) if since is not None else 0.0


def _deadline(since: datetime | None, spent: float, allowed: int | None) -> datetime | None:
    if since is None or allowed is None:
        return None
    return since + timedelta(seconds=math.ceil(max(0.0, allowed - spent)))
