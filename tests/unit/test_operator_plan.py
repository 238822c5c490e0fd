"""The operator's decisions: given, what it does, and what it says."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finetune_operator.model import JobView, Observed, PodView, Rejection, RunView
from finetune_operator.plan import plan
from finetune_operator.settings import PlanSettings
from finetune_sdk.contract import Termination

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTINGS = PlanSettings(trainer_image="trainer:1")
JOB = "create Job/r-trainer"
Json = dict[str, Any]


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_run(status: Json | None = None, labels: Json | None = None, **spec: Any) -> RunView:
    return RunView.from_object(
        {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "FinetuneRun",
            "metadata": {
                "name": "r",
                "namespace": "n",
                "uid": "run",
                "resourceVersion": "1",
                "creationTimestamp": at(-60),
                "labels": labels or {},
            },
            "spec": {
                "model": {"weights": {"uri": "s3://b/base/"}},
                "data": {"source": {"uri": "s3://b/data/"}},
                "output": {"uri": "s3://b/out/"},
                **spec,
            },
            "status": status or {},
        }
    )


def a_job(condition: str = "", message: str = "", **spec: Any) -> JobView:
    conditions = [{"type": condition, "status": "True", "reason": "x", "message": message}] if condition else []
    return JobView.from_object(
        {
            "metadata": {
                "name": "r-trainer",
                "uid": "job",
                "resourceVersion": "1",
                "creationTimestamp": at(-50),
                "ownerReferences": [{"uid": "run", "controller": True}],
            },
            "spec": {"backoffLimit": 3, "template": {"spec": {"containers": [{"image": "trainer:1"}]}}, **spec},
            "status": {"conditions": conditions},
        }
    )


def a_pod(phase: str = "Running", run_uid: str = "run", reason: str = "", **state: Any) -> PodView:
    container = {"name": "trainer", "state": state or {"running": {"startedAt": at(-30)}}}
    return PodView.from_object(
        {
            "metadata": {
                "name": "r-trainer-1",
                "uid": "pod",
                "creationTimestamp": at(-40),
                "labels": {"finetune.dev/run": "r", "finetune.dev/run-uid": run_uid},
                "ownerReferences": [{"uid": "job", "controller": True}],
            },
            "spec": {"nodeName": "node1"},
            "status": {"phase": phase, "reason": reason, "containerStatuses": [container]},
        }
    )


def ended(code: int, message: str = "", reason: str = "Error") -> Json:
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "message": message,
            "startedAt": at(-30),
            "finishedAt": at(-1),
        }
    }


def said(reason: str, code: int) -> Json:
    return ended(code, Termination(reason=reason, message="why", exit_code=code).to_bytes().decode())


RUNNING = {"state": "Running", "jobUid": "job", "jobs": 1, "attempts": 1, "startTime": at(-30), "activeSince": at(-30)}
CASES: dict[str, tuple[Observed, list[str], str | None, str | None]] = {
    "a new run gets its Job": (Observed(a_run()), [JOB], "Starting", ""),
    "a queued run's Job is Kueue's to start": (
        Observed(a_run(labels={"kueue.x-k8s.io/queue-name": "q"})), [JOB], "Queued", "QueuedForQuota"),
    "no Job while a pod of the same name lives": (
        Observed(a_run(), pods=(a_pod(run_uid="an earlier run"),)), [], "Pending", "WaitingForPreviousPods"),
    "a suspended run gets no Job": (Observed(a_run(suspend=True)), [], "Suspended", ""),
    "what is not built yet is refused by name": (Observed(a_run(compute={"nodes": 2})), [], "Failed", "InvalidSpec"),
    "a file outside of a volume is refused": (
        Observed(a_run(output={"uri": "file:///tmp/x/"})), [], "Failed", "InvalidSpec"),
    "a refused Job is told and tried again": (
        Observed(a_run(), rejection=Rejection(422, "no", NOW)), [], "Pending", "JobRejected"),
    "a Job whose pod is not there yet": (Observed(a_run(), a_job()), [], "Starting", ""),
    "a running pod": (Observed(a_run(), a_job(), (a_pod(),)), [], "Running", ""),
    "an image that cannot be pulled": (
        Observed(a_run(), a_job(), (a_pod("Pending", waiting={"reason": "ImagePullBackOff", "message": "no"}),)),
        [], "Starting", "ImagePullFailed"),
    "suspend stops the Job": (
        Observed(a_run(suspend=True), a_job(), (a_pod(),)),
        ["patch Job/r-trainer {'suspend': True}"], "Suspending", ""),
    "suspended once no pod is left": (Observed(a_run(suspend=True), a_job(suspend=True)), [], "Suspended", ""),
    "resume": (
        Observed(a_run(), replace(a_job(suspend=True), suspended_by_us=True)),
        ["patch Job/r-trainer {'suspend': False}"], "Starting", ""),
    "more retries take effect at once": (
        Observed(a_run(lifecycle={"maxRetries": 5}), a_job(), (a_pod(),)),
        ["patch Job/r-trainer {'backoffLimit': 5}"], "Running", ""),
    "a failed attempt is told": (
        Observed(a_run(RUNNING), a_job(), (a_pod("Failed", **said("StorageUnavailable", 69)),)),
        [], "Retrying", "StorageUnavailable"),
    "the pod's own words end a run": (
        Observed(a_run(RUNNING), a_job("Failed"), (a_pod("Failed", **said("DataInvalid", 65)),)),
        [], "Failed", "DataInvalid"),
    "without words the exit code does": (
        Observed(a_run(RUNNING), a_job("Failed"), (a_pod("Failed", **ended(79)),)), [], "Failed", "OutOfGpuMemory"),
    "without a pod the Job's condition does": (
        Observed(a_run(RUNNING), a_job("Failed", "Container trainer for pod n/p failed with exit code 77 matching")),
        [], "Failed", "StorageDenied"),
    "out of memory goes before any exit code": (
        Observed(a_run(RUNNING), a_job("Failed"), (a_pod("Failed", **ended(70, reason="OOMKilled")),)),
        [], "Failed", "OutOfMemory"),
    "an exit without a type": (
        Observed(a_run(RUNNING), a_job("Failed"), (a_pod("Failed", **ended(1, "boom")),)),
        [], "Failed", "RetriesExhausted"),
    "complete, and unread": (Observed(a_run(RUNNING), a_job("Complete")), [], "Succeeded", "ResultUnread"),
    "a Job that vanished is made again": (Observed(a_run(RUNNING)), [JOB], None, None),
    "the active deadline": (
        Observed(a_run(RUNNING, lifecycle={"activeDeadlineSeconds": 20}), a_job(), (a_pod(),)),
        ["delete Job/r-trainer"], "Failed", "DeadlineExceeded"),
    "a finished run starts nothing": (Observed(a_run({"state": "Succeeded", "observedGeneration": 1})), [], None, None),
    "what a finished run left over is deleted": (
        Observed(a_run({"state": "Failed", "observedGeneration": 1}), a_job()), ["delete Job/r-trainer"], None, None),
    "a finished run's time to live goes to its Job": (
        Observed(
            a_run({"state": "Succeeded", "observedGeneration": 1}, lifecycle={"ttlSecondsAfterFinished": 9}),
            a_job("Complete")),
        ["patch Job/r-trainer {'ttlSecondsAfterFinished': 9}"], None, None),
    "a restart begins anew": (
        Observed(a_run({"state": "Failed", "reason": "StorageDenied"}, lifecycle={"restart": 1}), a_job("Failed")),
        ["delete Job/r-trainer"], "Pending", ""),
}  # fmt: skip


@pytest.mark.parametrize(("given", "actions", "state", "reason"), CASES.values(), ids=CASES)
def test_plan(given: Observed, actions: list[str], state: str | None, reason: str | None) -> None:
    untouched = deepcopy(given)
    made = plan(given, NOW, SETTINGS)
    assert [str(action) for action in made.actions] == actions
    if state is not None:
        assert made.status is not None
        assert (made.status.state, made.status.reason) == (state, reason), made.status.message
    assert given == untouched, "plan() must not change what it was given"


def test_nothing_is_written_when_nothing_changed() -> None:
    first = plan(Observed(a_run(), a_job(), (a_pod(),)), NOW, SETTINGS).status
    assert first is not None
    again = a_run(first.model_dump(mode="json", by_alias=True, exclude_none=True))
    later = plan(Observed(again, a_job(), (a_pod(),)), NOW + timedelta(seconds=5), SETTINGS)
    assert (later.status, later.actions, later.tells) == (None, (), ())


def test_what_ends_or_starts_is_decided_on_fresh_reads() -> None:
    assert plan(Observed(a_run(), fresh=False), NOW, SETTINGS).needs_fresh
    assert not plan(Observed(a_run(), a_job(), (a_pod(),), fresh=False), NOW, SETTINGS).needs_fresh
