"""What a decision is given, built by sentences: a_run().with_job().with_pod(running()). Times are seconds from NOW."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from finetune_operator.actions import Plan
from finetune_operator.model import EventView, JobView, Observed, PodView, Polled, Rejection, RunView
from finetune_operator.plan import plan
from finetune_operator.policies.conditions import conditions_for
from finetune_operator.settings import PlanSettings
from finetune_sdk.api.status import Artifacts, CheckpointRef, FinetuneRunStatus, RunEvaluation, RunProgress
from finetune_sdk.contract import Ended, ProgressReport, Termination

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTINGS = PlanSettings(trainer_image="trainer:1")
CREATE, DELETE = "create Job/r-trainer", "delete Job/r-trainer"
QUEUE = "kueue.x-k8s.io/queue-name"


def at(seconds: float) -> str:
    """RFC 3339, `seconds` from NOW."""
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def stored(status: FinetuneRunStatus) -> Json:
    """A status as the API server keeps it and gives it back."""
    document: Json = json.loads(json.dumps(status.model_dump(mode="json", by_alias=True, exclude_none=True)))
    return document


@dataclass(frozen=True)
class Given:
    """One run and what is around it, as the API server would tell."""

    run: Json
    job: Json | None = None
    pods: tuple[Json, ...] = ()
    events: tuple[EventView, ...] = ()
    polled: Polled | None = None
    rejection: Rejection | None = None
    fresh: bool = True

    def observed(self) -> Observed:
        """The same, read."""
        job = JobView.from_object(self.job) if self.job is not None else None
        pods = tuple(map(PodView.from_object, self.pods))
        return Observed(
            RunView.from_object(self.run), job, pods, self.events, self.polled, self.rejection, fresh=self.fresh
        )

    def plan(self, seconds: float = 0.0) -> Plan:
        """What is decided `seconds` from NOW."""
        return plan(self.observed(), NOW + timedelta(seconds=seconds), SETTINGS)

    def after(self, decided: Plan) -> "Given":
        """The same once the status of `decided` is written, and nothing else has changed."""
        return self if decided.status is None else replace(self, run={**self.run, "status": stored(decided.status)})

    def spec(self, **fields: Any) -> "Given":
        """With these fields of the spec, as a newer generation."""
        metadata = {**self.run["metadata"], "generation": self.run["metadata"]["generation"] + 1}
        return replace(self, run={**self.run, "metadata": metadata, "spec": {**self.run["spec"], **fields}})

    def metadata(self, **fields: Any) -> "Given":
        """With these fields of the run's metadata."""
        return replace(self, run={**self.run, "metadata": {**self.run["metadata"], **fields}})

    def in_queue(self, queue: str = "team-a") -> "Given":
        """Labelled for one of Kueue's queues."""
        return self.metadata(labels={QUEUE: queue})

    def seen(self, state: str, reason: str = "", **fields: Any) -> "Given":
        """With a status of that state, that knows the Job `job`."""
        known = {"state": state, "reason": reason, "message": "", "observedGeneration": 1, "jobUid": "job", "jobs": 1}
        status = FinetuneRunStatus.model_validate({**known, **fields})
        before = NOW - timedelta(seconds=50)
        conditions = conditions_for(status, gated=False, reporting=None, generation=1, now=before)
        return replace(self, run={**self.run, "status": stored(status.model_copy(update={"conditions": conditions}))})

    def trained(self, state: str = "Running", reason: str = "", **fields: Any) -> "Given":
        """The same of a run whose trainer has begun half a minute ago."""
        pod = {"name": "r-trainer-1", "uid": "r-trainer-1", "startedAt": at(-30)}
        began = {"attempts": 1, "startTime": at(-30), "activeSince": at(-30), "pod": pod, "image": "trainer:0"}
        return self.seen(state, reason, **{**began, **fields})

    def with_job(self, **fields: Any) -> "Given":
        """And a Job; see `a_job`."""
        return replace(self, job=a_job(**fields))

    def with_pod(self, pod: Json, **metadata: Any) -> "Given":
        """And a pod of that Job, made after those before it."""
        number = len(self.pods) + 1
        name = f"r-trainer-{number}"
        head = {
            "name": name,
            "uid": name,
            "creationTimestamp": at(-40 + number),
            "labels": {"finetune.dev/run": "r", "finetune.dev/run-uid": "run"},
            "ownerReferences": [{"uid": "job", "controller": True}],
        }
        return replace(self, pods=(*self.pods, {**pod, "metadata": {**head, **pod.get("metadata", {}), **metadata}}))

    def with_event(self, about: str, reason: str, message: str, seconds: float = -5) -> "Given":
        """And a Warning about the Job (`job`) or the pod of that name."""
        return replace(self, events=(*self.events, EventView(about, reason, message, NOW + timedelta(seconds=seconds))))

    def told(self, pod: str = "r-trainer-1", misses: int = 0, **report: Any) -> "Given":
        """And what that pod said when it was asked for progress; `misses` polls ago."""
        said = ProgressReport(run_uid="run", at=NOW, **report) if report or not misses else None
        return replace(self, polled=Polled(pod, said, misses))

    def refused(self, message: str, code: int = 422, seconds: float = 0.0) -> "Given":
        """And the API server's refusal of the Job."""
        return replace(self, rejection=Rejection(code, message, NOW + timedelta(seconds=seconds)))


class Row(NamedTuple):
    """A line of a table: what is given, what is done, what is said, and words that the message must hold."""

    given: Given
    actions: list[str]
    state: str
    reason: str = ""
    words: tuple[str, ...] = ()


Table = Mapping[str, Row]


def check(row: Row) -> None:
    """Decide, and compare."""
    before = json.dumps(row.given.run)
    made = row.given.plan()
    assert [str(action) for action in made.actions] == row.actions
    status = made.status or row.given.observed().run.status
    assert (status.state, status.reason) == (row.state, row.reason), status.message
    assert [word for word in row.words if word not in status.message] == [], status.message
    assert json.dumps(row.given.run) == before, "plan() must not change what it was given"


def a_run(**spec: Any) -> Given:
    """A run that no operator has seen, the shortest spec with `spec` over it."""
    return Given(
        {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "FinetuneRun",
            "metadata": {
                "name": "r",
                "namespace": "n",
                "uid": "run",
                "resourceVersion": "1",
                "generation": 1,
                "creationTimestamp": at(-60),
                "labels": {},
            },
            "spec": {
                "model": {"weights": {"uri": "s3://b/base/"}},
                "data": {"source": {"uri": "s3://b/data/"}},
                "output": {"uri": "s3://b/out/"},
                **spec,
            },
        }
    )


def a_job(
    *,
    uid: str = "job",
    owner: str = "run",
    run: str = "r",
    condition: str = "",
    reason: str = "",
    message: str = "",
    finished: float = -1,
    suspended: bool = False,
    ours: bool = True,
    queue: str = "",
    deleting: bool = False,
    began: float | None = -50,
    failed: int = 0,
    **spec: Any,
) -> Json:
    """A Job as its controller leaves it; `ours`: if it is suspended, then by the operator."""
    metadata: Json = {"name": "r-trainer", "uid": uid, "creationTimestamp": at(-50)}
    metadata["labels"] = ({"finetune.dev/run": run} if run else {}) | ({QUEUE: queue} if queue else {})
    metadata["ownerReferences"] = [{"uid": owner, "controller": True}] if owner else []
    metadata["annotations"] = {"finetune.dev/suspended": "true"} if suspended and ours else {}
    if deleting:
        metadata["deletionTimestamp"] = at(-1)
    over = {"type": condition, "status": "True", "reason": reason, "message": message}
    conditions = [{**over, "lastTransitionTime": at(finished)}] if condition else []
    return {
        "metadata": metadata,
        "spec": {
            "backoffLimit": 3,
            "suspend": suspended,
            "template": {"spec": {"containers": [{"image": "trainer:1"}]}},
            **spec,
        },
        "status": {"conditions": conditions, "failed": failed}
        | ({"startTime": at(began)} if began is not None else {}),
    }


def a_pod(phase: str, state: Json | None = None, *conditions: Json, **status: Any) -> Json:
    """A pod whose trainer's container is in `state`."""
    containers = [{"name": "trainer", "state": state}] if state is not None else []
    told = {"phase": phase, "conditions": list(conditions), "containerStatuses": containers, **status}
    return {"spec": {"nodeName": "node1"}, "status": told}


def running(*conditions: Json, since: float = -30) -> Json:
    """A pod whose trainer works."""
    return a_pod("Running", {"running": {"startedAt": at(since)}}, *conditions, podIP="10.0.0.1")


def waiting(reason: str = "ContainerCreating", message: str = "", *conditions: Json) -> Json:
    """A pod whose container cannot start yet."""
    return a_pod("Pending", {"waiting": {"reason": reason, "message": message}}, *conditions)


def unscheduled(message: str) -> Json:
    """A pod without a node."""
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {**a_pod("Pending", None, scheduled), "spec": {}}


def ended(code: int, message: str = "", reason: str = "Error", *conditions: Json, since: float = -30) -> Json:
    """A pod whose trainer ended with that exit code."""
    state = {"exitCode": code, "reason": reason, "message": message, "startedAt": at(since), "finishedAt": at(-1)}
    return a_pod("Failed" if code else "Succeeded", {"terminated": state}, *conditions)


def said(reason: str, code: int, message: str = "why", *conditions: Json, result: Ended | None = None) -> Json:
    """A pod whose trainer ended with these words."""
    told = Termination(reason=reason, message=message, exit_code=code, result=result)
    return ended(code, told.to_bytes().decode(), "Error", *conditions)


def evicted(message: str, *conditions: Json) -> Json:
    """A pod that the kubelet ended for what it used."""
    return a_pod("Failed", None, *conditions, reason="Evicted", message=message)


def deleting(pod: Json, seconds: float = 30) -> Json:
    """The pod, asked to end by then."""
    return {**pod, "metadata": {**pod.get("metadata", {}), "deletionTimestamp": at(seconds)}}


def uncounted(pod: Json) -> Json:
    """The pod, before its Job has counted how it ended."""
    finalizers = ["batch.kubernetes.io/job-tracking"]
    return {**pod, "metadata": {**pod.get("metadata", {}), "finalizers": finalizers}}


def disrupted(reason: str, message: str = "") -> Json:
    """The condition of a pod that is ended from outside."""
    return {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}


def mounted() -> Json:
    """The condition of a pod whose volumes are there."""
    return {"type": "PodReadyToStartContainers", "status": "True"}


def a_result(**figures: Any) -> Ended:
    """What a complete trainer tells."""
    known: Json = {"before": 0.5, "after": 0.61234567, "gain": 0.11234567, "interval95": [0.0512345, 0.15]}
    return Ended(
        evaluation=RunEvaluation(metric="image_retrieval_recall@5", **{**known, **figures}),
        artifacts=Artifacts(
            model="s3://b/out/model/", report="s3://b/out/report.html", result="s3://b/out/result.json"
        ),
        checkpoint=CheckpointRef(step=40, uri="s3://b/out/checkpoints/step-40/"),
    )


def at_step(step: int, **fields: Any) -> RunProgress:
    """Progress in training."""
    return RunProgress(stage="train", step=step, total_steps=100, percent=float(step), eta_seconds=9.0, **fields)
