"""Attempts: pods whose trainer started, each counted once, also those that came and went unwatched."""

from typing import Any

from finetune_operator.model import JobView, Observed
from finetune_sdk.api.status import PodRef


def attempt_changes(observed: Observed, job: JobView) -> dict[str, Any]:
    """What pods that started since the last look add to the status."""
    status = observed.run.status
    started = sorted(
        (pod.started_at, pod.name, pod.uid)
        for pod in observed.own_pods
        if pod.job_uid == job.uid and pod.started_at is not None
    )
    known = status.pod
    new = [one for one in started if known is None or (one[0] >= known.started_at and one[2] != known.uid)]
    if not new:
        return {}
    at, name, uid = new[-1]
    changes = {"attempts": status.attempts + len(new), "pod": PodRef(name=name, uid=uid, started_at=at)}
    return changes if status.start_time is not None else {**changes, "start_time": new[0][0]}
