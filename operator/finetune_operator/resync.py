"""What watches cannot be trusted with: the first reading, and objects that went while a watch was broken."""

import asyncio
import contextlib
from collections.abc import Callable

from finetune_operator.api import METADATA_ONLY, Api, ApiError
from finetune_operator.caches import Caches
from finetune_operator.cluster import BATCH, CORE, OURS, OURS_API, read_all, read_run
from finetune_operator.log import log
from finetune_operator.manifests import job_name
from finetune_operator.model import JobView, PodView, RunKey
from finetune_operator.namespaces import Namespaces
from finetune_operator.objects import Json
from finetune_sdk.api.run import PLURAL
from finetune_sdk.contract import RUN_LABEL

EVERY_SECONDS = 300.0
SETTLE_SECONDS = 1.0
"""After kopf has listed again: its events come one by one."""
AGAIN_SECONDS = 10.0
FINISHED = ("Succeeded", "Failed")


class Resync:
    """Keeps `caches` complete for `namespaces`; what is kept of one that refuses stays as it is."""

    def __init__(self, api: Api, caches: Caches, namespaces: Namespaces, nudge: Callable[[RunKey], None]) -> None:
        self._api = api
        self._caches = caches
        self._namespaces = namespaces
        self._nudge = nudge
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """A watch was opened anew: what was deleted meanwhile it does not tell."""
        self._asked.set()

    async def fill(self) -> None:
        """Read everything once, before the first decision: half of the truth would look like a change.

        Raises:
            ApiError: it must be begun anew.
        """
        for namespace in self._namespaces.each():
            with self._namespaces.tolerated(namespace):
                await self._fill(namespace)

    async def _fill(self, namespace: str | None) -> None:
        async for item in read_all(self._api, CORE, "pods", namespace, OURS):
            if (key := key_of_label(item)) is not None:
                self._caches.put_pod(key, PodView.from_object(item))
        async for item in read_all(self._api, BATCH, "jobs", namespace, OURS):
            if (key := key_of_job(item)) is not None:
                self._caches.put_job(key, JobView.from_object(item))
        async for item in read_all(self._api, OURS_API, PLURAL, namespace, {}):
            self._caches.put_run(item)
            self._nudge(key_of(item))

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), EVERY_SECONDS)
                await asyncio.sleep(SETTLE_SECONDS)
            self._asked.clear()
            try:
                await self.compare()
            except ApiError as error:
                log.warning("resync-failed", error=str(error))
                await asyncio.sleep(error.retry_after or AGAIN_SECONDS)
                self._asked.set()

    async def compare(self) -> None:
        """Drop what is gone, fetch what is newer than known, and nudge every run that is not over.

        Raises:
            ApiError: some of it was not compared.
        """
        for namespace in self._namespaces.each():
            with self._namespaces.tolerated(namespace):
                await self._compare(namespace)

    async def _compare(self, namespace: str | None) -> None:
        jobs_and_pods, runs = self._caches.uids(namespace), self._caches.known_runs(namespace)
        listed = await self._uids(BATCH, "jobs", namespace) | await self._uids(CORE, "pods", namespace)
        for uid in jobs_and_pods.keys() - listed:
            self._caches.drop_job(jobs_and_pods[uid], uid)
            self._caches.drop_pod(jobs_and_pods[uid], uid)
            self._nudge(jobs_and_pods[uid])
        metadata = read_all(self._api, OURS_API, PLURAL, namespace, {}, accept=METADATA_ONLY)
        versions = {key_of(item): item["metadata"]["resourceVersion"] async for item in metadata}
        for key in runs.keys() - versions.keys():
            self._caches.drop_run(key, runs[key])
            self._nudge(key)
        for key, version in versions.items():
            await self._follow(key, version)

    async def _uids(self, group: str, plural: str, namespace: str | None) -> set[str]:
        listed = read_all(self._api, group, plural, namespace, OURS, accept=METADATA_ONLY)
        return {item["metadata"]["uid"] async for item in listed}

    async def _follow(self, key: RunKey, version: str) -> None:
        news = False
        if self._caches.version(key) != version and (document := await read_run(self._api, key)) is not None:
            news = self._caches.put_run(document)
        # Of what is kept here the watch's own event is no news: nobody else would nudge, not even a restarted run.
        if news or self._caches.state(key) not in FINISHED:
            self._nudge(key)


def key_of(document: Json) -> RunKey:
    """A run's key, of the run itself."""
    return RunKey(document["metadata"]["namespace"], document["metadata"]["name"])


def key_of_job(document: Json) -> RunKey | None:
    """The key of the run whose Job this is; None also for a copy of it under another name, labels and owner and all."""
    key = key_of_label(document)
    return key if key is not None and document["metadata"]["name"] == job_name(key.name) else None


def key_of_label(document: Json) -> RunKey | None:
    """The key of the run that a Job or pod is labelled with."""
    name = (document["metadata"].get("labels") or {}).get(RUN_LABEL)
    return RunKey(document["metadata"]["namespace"], name) if name else None
