"""Attempts: pods whose trainer started, each counted once, also those that came and went unwatched."""

from datetime import datetime
from typing import Any

from finetune_operator.model import JobView, Observed, PodView
from finetune_sdk.api.status import PodRef


def attempt_changes(observed: Observed, job: JobView) -> dict[str, Any]:
    """What pods that started since the last look add to the status."""
    status = observed.run.status
    pods = [pod for pod in observed.own_pods if pod.job_uid == job.uid]
    new = [(pod, at) for pod in _since(pods, status.pod) if (at := pod.started_at) is not None]
    if not new:
        return {}
    last, at = new[-1]
    changes: dict[str, Any] = {"attempts": status.attempts + len(new)}
    changes["pod"] = PodRef(name=last.name, uid=last.uid, started_at=at)
    return changes if status.start_time is not None else {**changes, "start_time": new[0][1]}


def end_changes(observed: Observed, job: JobView, now: datetime) -> dict[str, Any]:
    """The same for a Job that is over: where no pod is left to be counted, it had one all the same if it succeeded."""
    changes = attempt_changes(observed, job)
    if changes or observed.run.status.pod is not None or not job.completed:
        return changes
    status = observed.run.status
    began = status.start_time or job.started_at or job.finished_at or now
    return {"attempts": max(1, status.attempts), "start_time": began}


def _since(pods: list[PodView], known: PodRef | None) -> list[PodView]:
    """Pods that were made after the one that is counted last; by its place, as clocks of two nodes may differ."""
    if known is None:
        return pods
    places = [place for place, pod in enumerate(pods) if pod.uid == known.uid]
    if places:
        return pods[places[0] + 1 :]
    return [pod for pod in pods if max(pod.created_at, pod.started_at or pod.created_at) >= known.started_at]
