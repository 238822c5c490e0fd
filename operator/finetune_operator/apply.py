"""The only writes of a pass, in the one order that loses nothing: creates and patches, the status, deletes, Events."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from finetune_operator.actions import CreateJob, DeleteJob, PatchJob, Plan, Tell
from finetune_operator.api import Api, ApiError
from finetune_operator.caches import Caches
from finetune_operator.cluster import events_path, job_path, jobs_path, run_path
from finetune_operator.model import JobView, Observed, Rejection, RunKey, RunView
from finetune_operator.objects import Json
from finetune_sdk.api.run import GROUP, KIND, VERSION
from finetune_sdk.api.status import FinetuneRunStatus

CONFLICT, NOT_FOUND = 409, 404
REFUSED = (400, 403, 422)
COMPONENT = "finetune-operator"


class NotLeading(Exception):
    """This process lost its lease: it may write nothing more."""


class Applier:
    """Carries plans out as long as `may_write` says so."""

    def __init__(self, api: Api, caches: Caches, may_write: Callable[[], bool], now: Callable[[], datetime]) -> None:
        self._api = api
        self._caches = caches
        self._may_write = may_write
        self._now = now

    async def apply(self, observed: Observed, plan: Plan) -> bool:
        """Carry `plan` out; False where it met a refusal or another's object and must be decided anew.

        Raises:
            ApiError: what was not written will be by a later pass.
            NotLeading: nothing more is written.
        """
        run, status = observed.run, plan.status
        for action in plan.actions:
            if isinstance(action, CreateJob):
                made = await self._create(run, action)
                if made is None:
                    return False
                status = status and status.model_copy(update={"job_uid": made.uid})
            elif isinstance(action, PatchJob):
                await self._patch(run.key, action)
        if status is not None:
            await self._write_status(run, status)
        for action in plan.actions:
            if isinstance(action, DeleteJob):
                await self._delete(run.key, action)
        for tell in plan.tells:
            await self._tell(run, tell, status)
        return True

    async def _create(self, run: RunView, action: CreateJob) -> JobView | None:
        self._check()
        try:
            document = await self._api.post(jobs_path(run.key.namespace), self._api.serialize(action.job))
        except ApiError as error:
            if error.status == CONFLICT:
                return await self._already_there(run)
            if error.status in REFUSED:
                new = Rejection(error.status, error.message)
                if self._caches.rejections.get(run.key) != new:
                    self._caches.rejections[run.key] = new
                    return None
            raise
        self._caches.rejections.pop(run.key, None)
        job = JobView.from_object(document)
        self._caches.put_job(run.key, job)
        return job

    async def _already_there(self, run: RunView) -> JobView | None:
        """A Job of the name exists: this run's, made by a pass that did not come to its end, or another's."""
        job = JobView.from_object(await self._api.get(job_path(run.key)))
        self._caches.put_job(run.key, job)
        if job.run_uid == run.uid:
            return job
        self._caches.rejections[run.key] = Rejection(
            CONFLICT, f"a Job {job.name} that is not this run's exists: delete it, or give the run another name"
        )
        return None

    async def _patch(self, key: RunKey, action: PatchJob) -> None:
        self._check()
        body = {"metadata": {"uid": action.uid}, "spec": action.spec}
        self._caches.put_job(key, JobView.from_object(await self._api.patch(job_path(key), body)))

    async def _write_status(self, run: RunView, status: FinetuneRunStatus) -> None:
        """Only over the version that was decided on: a uid in the body would protect nothing."""
        self._check()
        wanted = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        body = {
            "metadata": {"resourceVersion": run.resource_version},
            "status": merge_patch(run.stored_status, wanted),
        }
        if body["status"]:
            self._caches.put_run(await self._api.patch(run_path(run.key, "/status"), body))

    async def _delete(self, key: RunKey, action: DeleteJob) -> None:
        self._check()
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": action.uid},
        }
        try:
            await self._api.delete(job_path(key), options)
        except ApiError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise

    async def _tell(self, run: RunView, tell: Tell, status: FinetuneRunStatus | None) -> None:
        """An Event; its name is that of the turn, so that a repeated pass does not tell it twice."""
        self._check()
        turn = (
            f"{run.uid} {tell.reason} {status.jobs if status else 0} {status.attempts if status else 0} {tell.message}"
        )
        try:
            await self._api.post(events_path(run.key.namespace), _event(run, tell, turn, self._now()))
        except ApiError as error:
            # Forbidden: the namespace is being deleted. An Event is not worth another pass.
            if error.status not in (CONFLICT, NOT_FOUND, 403):
                raise

    def _check(self) -> None:
        if not self._may_write():
            raise NotLeading


def merge_patch(old: Json, new: Json) -> Json:
    """The JSON merge patch (RFC 7386) that makes `new` of `old`."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if below := merge_patch(before, value):
                patch[key] = below
        elif value != before:
            patch[key] = value
    return patch


def _event(run: RunView, tell: Tell, turn: str, now: datetime) -> Json:
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    name = f"{run.key.name}.{hashlib.sha256(turn.encode()).hexdigest()[:16]}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": run.key.namespace},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "namespace": run.key.namespace,
            "name": run.key.name,
            "uid": run.uid,
            "resourceVersion": run.resource_version,
        },
        "type": tell.kind,
        "reason": tell.reason,
        "message": tell.message[:1024],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
