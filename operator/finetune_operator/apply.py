"""The only writes of a pass, in the one order that loses nothing: creates and patches, the status, deletes, Events."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from finetune_operator.actions import CreateJob, DeleteJob, PatchJob, Plan, Tell
from finetune_operator.api import Api, ApiError
from finetune_operator.caches import Caches
from finetune_operator.cluster import events_path, job_path, jobs_path, run_path
from finetune_operator.log import log
from finetune_operator.model import JobView, Observed, Rejection, RunKey, RunView
from finetune_operator.objects import Json
from finetune_operator.observe import refresh_job
from finetune_operator.policies.telling import STARTED
from finetune_operator.policies.waiting import SERVER_ERROR
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
        self._owed: dict[RunKey, list[Json]] = {}
        """Events of turns that are written, and that nobody was told of yet."""

    async def apply(self, observed: Observed, plan: Plan) -> bool:
        """Carry `plan` out; False where it met a refusal or a Job that is there already and must be decided anew.

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
                if status is not None:
                    status = status.model_copy(update={"job_uid": made.uid})
            elif isinstance(action, PatchJob) and not await self._patch(run.key, action):
                return False
        if status is not None:
            await self._write_status(run, status)
        for tell in plan.tells:  # a delete that fails would lose them: the next pass finds the status as it should be
            self.owe(run, status or run.status, tell)
        for action in plan.actions:
            if isinstance(action, DeleteJob):
                await self._delete(run.key, action)
        await self._tell(run.key)
        return True

    def owe(self, run: RunView, status: FinetuneRunStatus, tell: Tell) -> None:
        """Tell this with the run's next pass, or whichever succeeds in it."""
        self._owed.setdefault(run.key, []).append(_event(run, status, tell, self._now()))

    def forget(self, key: RunKey) -> None:
        """The run is gone."""
        self._owed.pop(key, None)

    async def _create(self, run: RunView, action: CreateJob) -> JobView | None:
        """The Job; None where it is refused or there already, which the next decision hears of."""
        self._check()
        try:
            document = await self._api.post(jobs_path(run.key.namespace), self._api.serialize(action.job))
        except ApiError as error:
            if error.status == CONFLICT:
                await self._find(run)
            else:
                self._note_refusal(run.key, error)
            return None
        self._caches.rejections.pop(run.key, None)
        job = JobView.from_object(document)
        self._caches.put_job(run.key, job)
        return job

    async def _find(self, run: RunView) -> None:
        """A Job of the name exists: this run's, made by a pass that did not come to its end, or another's."""
        await refresh_job(self._api, self._caches, run.key)
        job = self._caches.job(run.key)
        if job is not None and job.run_uid != run.uid:
            said = f"a Job {job.name} that is not this run's exists: delete it, or give the run another name"
            self._caches.rejections[run.key] = Rejection(CONFLICT, said, self._now())

    async def _patch(self, key: RunKey, action: PatchJob) -> bool:
        """Whether it was taken; a refusal is what the next decision hears of."""
        self._check()
        metadata = {"uid": action.uid} | ({"annotations": dict(action.annotations)} if action.annotations else {})
        body = {"metadata": metadata, "spec": action.spec}
        try:
            document = await self._api.patch(job_path(key), body)
        except ApiError as error:
            self._note_refusal(key, error)
            return False
        self._caches.rejections.pop(key, None)
        if (known := self._caches.job(key)) is not None and known.uid == action.uid:  # else it went meanwhile
            self._caches.put_job(key, JobView.from_object(document))
        return True

    def _note_refusal(self, key: RunKey, error: ApiError) -> None:
        """Keep what the API server says to a Job.

        Raises:
            ApiError: `error`, where the same write may do a moment later, or was decided on what has changed.
        """
        if error.status not in REFUSED and error.status < SERVER_ERROR:
            raise error
        self._caches.rejections[key] = Rejection(error.status, error.message, self._now())

    async def _write_status(self, run: RunView, status: FinetuneRunStatus) -> None:
        """Only over the version that was decided on: a uid in the body would protect nothing."""
        self._check()
        wanted = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        body = {
            "metadata": {"resourceVersion": run.resource_version},
            "status": merge_patch(run.stored_status, wanted),
        }
        if not body["status"]:
            return
        document = await self._api.patch(run_path(run.key, "/status"), body)
        if self._caches.uid(run.key) == run.uid:  # else it went meanwhile
            self._caches.put_run(document)
        if (status.state, status.reason) != (run.status.state, run.status.reason):
            log.info("state", run=run.key.name, namespace=run.key.namespace, state=status.state, reason=status.reason)

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

    async def _tell(self, key: RunKey) -> None:
        """Send the Events that are owed; each leaves the list once the API server has it."""
        while owed := self._owed.get(key):
            self._check()
            try:
                await self._api.post(events_path(key.namespace), owed[0])
            except ApiError as error:
                # Conflict: told already. Forbidden: the namespace is being deleted. An Event is not worth another pass.
                if error.status not in (CONFLICT, NOT_FOUND, *REFUSED):
                    raise
            owed.pop(0)
        self._owed.pop(key, None)

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


def _event(run: RunView, status: FinetuneRunStatus, tell: Tell, now: datetime) -> Json:
    """Its name is made of the turn, so that one which is told twice is there once."""
    clocks = f"{status.jobs} {status.attempts} {status.active_seconds} {status.waiting_seconds}"
    turn = f"{run.uid} {tell.reason} {status.jobs if tell.reason == STARTED else clocks} {tell.message}"
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
