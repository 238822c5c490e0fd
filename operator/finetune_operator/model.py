"""What a decision reads: one run, its Job, its pods, their Events and the trainer's progress, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from finetune_operator.objects import Condition, Json, conditions_of, moment
from finetune_operator.stored import read_spec, read_status
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.api.status import FinetuneRunStatus
from finetune_sdk.contract import CONTAINER, RUN_LABEL, RUN_UID_LABEL, ProgressReport

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
SUSPENDED_ANNOTATION = "finetune.dev/suspended"
"""On a Job that the operator itself suspended: only such a one may it start again."""
UNCOUNTED = "batch.kubernetes.io/job-tracking"
"""The Job controller's finalizer on pods whose end it has not counted yet."""


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """A run's place."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class RunView:
    """A FinetuneRun."""

    key: RunKey
    uid: str
    generation: int
    resource_version: str
    labels: Mapping[str, str]
    deleting: bool
    created_at: datetime
    spec: FinetuneRunSpec | None
    """Where this version does not read all of it, the part that it does, or None."""
    mistakes: tuple[str, ...]
    """What of the stored spec this version does not read, a sentence each."""
    status: FinetuneRunStatus
    stored_status: Json
    """The status as it is stored, for the difference to the new one."""

    @classmethod
    def from_object(cls, document: Json) -> Self:
        """The view of a FinetuneRun as the API server has it."""
        metadata = document["metadata"]
        spec, mistakes = read_spec(document)
        stored = document.get("status") or {}
        return cls(
            key=RunKey(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            generation=metadata.get("generation", 1),
            resource_version=metadata["resourceVersion"],
            labels=metadata.get("labels") or {},
            deleting="deletionTimestamp" in metadata,
            created_at=moment(metadata["creationTimestamp"]),
            spec=spec,
            mistakes=mistakes,
            status=read_status(stored),
            stored_status=stored,
        )

    @property
    def queue(self) -> str:
        """Kueue's queue that the run asks for; empty: none."""
        return self.labels.get(QUEUE_LABEL, "")


@dataclass(frozen=True, slots=True)
class JobView:
    """A Job of ours."""

    name: str
    uid: str
    run_uid: str
    created_at: datetime
    suspended: bool
    active: int
    failed: int
    succeeded: int
    terminating: int
    deleting: bool
    conditions: Mapping[str, Condition]
    backoff_limit: int
    ttl: int | None
    image: str
    run: str = ""
    """The run's name by its label; empty where it is no Job of ours."""
    queue: str = ""
    """Kueue's queue by its label."""
    suspended_by_us: bool = False
    started_at: datetime | None = None
    """When it was made or, if later, last resumed; None while it has never been at work."""
    version: int = field(default=0, compare=False)
    """Its resourceVersion, a number that grows; also with changes that are no news here."""

    @classmethod
    def from_object(cls, document: Json) -> Self:
        """The view of a Job as the API server has it."""
        metadata, spec, status = document["metadata"], document["spec"], document.get("status") or {}
        labels, started = metadata.get("labels") or {}, status.get("startTime")
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            run_uid=_owner(metadata),
            created_at=moment(metadata["creationTimestamp"]),
            suspended=bool(spec.get("suspend")),
            active=status.get("active", 0),
            failed=status.get("failed", 0),
            succeeded=status.get("succeeded", 0),
            terminating=status.get("terminating", 0),
            deleting="deletionTimestamp" in metadata,
            conditions=conditions_of(status),
            backoff_limit=spec.get("backoffLimit", 6),
            ttl=spec.get("ttlSecondsAfterFinished"),
            image=spec["template"]["spec"]["containers"][0]["image"],
            run=labels.get(RUN_LABEL, ""),
            queue=labels.get(QUEUE_LABEL, ""),
            suspended_by_us=SUSPENDED_ANNOTATION in (metadata.get("annotations") or {}),
            started_at=moment(started) if started else None,
            version=int(metadata.get("resourceVersion", 0)),
        )

    @property
    def completed(self) -> bool:
        """Whether it succeeded."""
        return self._is("Complete")

    @property
    def failed_for_good(self) -> bool:
        """Whether it has failed and no pod will come any more."""
        return self._is("Failed")

    @property
    def failing(self) -> bool:
        """Whether it is decided that it fails, and its pods are on their way out."""
        return self._is("FailureTarget")

    @property
    def finished(self) -> bool:
        """Whether it is over."""
        return self.completed or self.failed_for_good

    @property
    def finished_at(self) -> datetime | None:
        """When it was over; None where it is not, or does not say."""
        over = self.conditions.get("Complete" if self.completed else "Failed")
        return over.at if over is not None and over.true else None

    @property
    def resuming(self) -> bool:
        """Whether it is to run again, and its controller has not seen so yet."""
        return not self.suspended and self._is("Suspended")

    def _is(self, kind: str) -> bool:
        condition = self.conditions.get(kind)
        return condition is not None and condition.true


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended."""

    exit_code: int
    reason: str
    message: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of ours."""

    name: str
    uid: str
    run: str
    run_uid: str
    job_uid: str
    created_at: datetime
    phase: str
    node: str
    ip: str
    deletion_at: datetime | None
    """When it should be gone: the deletion's time with the grace period."""
    reason: str
    message: str
    conditions: Mapping[str, Condition]
    waiting: tuple[str, str]
    """Reason and message of a container that does not run yet."""
    started_at: datetime | None
    ended: Ended | None
    counted: bool
    """Whether the Job's numbers hold its end."""

    @classmethod
    def from_object(cls, document: Json) -> Self:
        """The view of a pod as the API server has it."""
        metadata, status = document["metadata"], document.get("status") or {}
        labels = metadata.get("labels") or {}
        state = _container_state(status)
        running, ended = state.get("running"), state.get("terminated")
        waiting = state.get("waiting") or {}
        started, created = (running or ended or {}).get("startedAt"), moment(metadata["creationTimestamp"])
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            run=labels.get(RUN_LABEL, ""),
            run_uid=labels.get(RUN_UID_LABEL, ""),
            job_uid=_owner(metadata),
            created_at=created,
            phase=status.get("phase", "Pending"),
            node=document.get("spec", {}).get("nodeName", ""),
            ip=status.get("podIP", ""),
            deletion_at=moment(metadata["deletionTimestamp"]) if "deletionTimestamp" in metadata else None,
            reason=status.get("reason", ""),
            message=status.get("message", ""),
            conditions=conditions_of(status),
            waiting=(waiting.get("reason", ""), waiting.get("message", "")),
            # A node's clock may be behind, and of a container that could not be started it says 1970.
            started_at=max(moment(started), created) if started else None,
            ended=_ended(ended) if ended else None,
            counted=UNCOUNTED not in metadata.get("finalizers", ()),
        )

    @property
    def living(self) -> bool:
        """Whether a container of it may still run."""
        return self.phase not in ("Succeeded", "Failed")

    @property
    def running(self) -> bool:
        """Whether the trainer runs."""
        return self.phase == "Running" and self.started_at is not None and self.ended is None

    @property
    def deleting(self) -> bool:
        """Whether it was asked to end."""
        return self.deletion_at is not None


@dataclass(frozen=True, slots=True)
class EventView:
    """An Event about a Job or pod of ours."""

    uid: str
    """Of the object that it is about."""
    reason: str
    message: str
    at: datetime

    @classmethod
    def from_object(cls, document: Json) -> Self:
        """The view of a core/v1 Event."""
        metadata = document["metadata"]
        at = document.get("lastTimestamp") or document.get("eventTime") or metadata["creationTimestamp"]
        return cls(
            uid=document.get("involvedObject", {}).get("uid", ""),
            reason=document.get("reason", ""),
            message=document.get("message", ""),
            at=moment(at),
        )


@dataclass(frozen=True, slots=True)
class Polled:
    """What GET /progress of the running pod said."""

    pod_uid: str
    report: ProgressReport | None
    misses: int
    """Polls in a row without an answer."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """What the API server said to the last try to make the Job."""

    code: int
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is known of one run at one time."""

    run: RunView
    job: JobView | None = None
    pods: tuple[PodView, ...] = ()
    """Every pod with the run's name, whatever its uid, the oldest first."""
    events: tuple[EventView, ...] = ()
    """Warnings about the Job and its pods, the oldest first."""
    polled: Polled | None = None
    rejection: Rejection | None = None
    fresh: bool = field(default=True)
    """Read from the API server just now, and not from what watches told."""

    @property
    def own_pods(self) -> tuple[PodView, ...]:
        """Pods of this very run."""
        return tuple(pod for pod in self.pods if pod.run_uid == self.run.uid)

    @property
    def living_pods(self) -> tuple[PodView, ...]:
        """Pods of the run's name that may still write, also those of a deleted run."""
        return tuple(pod for pod in self.pods if pod.living)

    @property
    def own_job(self) -> JobView | None:
        """The Job, if it is this run's."""
        return self.job if self.job is not None and self.job.run_uid == self.run.uid else None


def _owner(metadata: Json) -> str:
    owners = metadata.get("ownerReferences") or []
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _container_state(status: Json) -> Json:
    for container in status.get("containerStatuses") or []:
        if container["name"] == CONTAINER:
            state: Json = container.get("state") or {}
            return state
    return {}


def _ended(state: Json) -> Ended:
    finished: Any = state.get("finishedAt") or state.get("startedAt") or "1970-01-01T00:00:00Z"
    return Ended(
        exit_code=state.get("exitCode", 0),
        reason=state.get("reason", ""),
        message=state.get("message", ""),
        finished_at=moment(finished),
    )
