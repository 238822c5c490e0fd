"""kopf's handlers: they keep what a watch tells, and nudge. They decide nothing, and write nothing to the cluster."""

from collections.abc import Callable
from typing import Any

import kopf

from finetune_operator.api import Api
from finetune_operator.caches import Caches
from finetune_operator.cluster import OURS
from finetune_operator.model import JobView, PodView, RunKey
from finetune_operator.objects import Json
from finetune_operator.resync import key_of, key_of_label
from finetune_sdk.api.run import GROUP, PLURAL, VERSION

DELETED = "DELETED"


class Handlers:
    """What feeds `caches`. `nudge` asks for a pass; `listed` hears of every list, the first and those after a gap."""

    def __init__(self, caches: Caches, nudge: Callable[[RunKey], None], listed: Callable[[], None]) -> None:
        self._caches = caches
        self._nudge = nudge
        self._listed = listed

    async def run_changed(self, event: Any, **_: Any) -> None:
        """A FinetuneRun came, changed or went."""
        document: Json = event["object"]
        key = key_of(document)
        if event["type"] == DELETED:
            self._caches.drop_run(key)
        elif self._caches.put_run(document):
            self._nudge(key)
        self._hear(event)

    async def job_changed(self, event: Any, **_: Any) -> None:
        """A Job of ours came, changed or went."""
        document: Json = event["object"]
        if (key := key_of_label(document)) is not None:
            if event["type"] == DELETED:
                self._caches.drop_job(key, document["metadata"]["uid"])
                self._nudge(key)
            elif self._caches.job(key) != (job := JobView.from_object(document)):
                self._caches.put_job(key, job)
                self._nudge(key)
        self._hear(event)

    async def pod_changed(self, event: Any, **_: Any) -> None:
        """A pod of ours came, changed or went."""
        document: Json = event["object"]
        if (key := key_of_label(document)) is not None:
            if event["type"] == DELETED:
                self._caches.drop_pod(key, document["metadata"]["uid"])
                self._nudge(key)
            elif (pod := PodView.from_object(document)) not in self._caches.pods(key):
                self._caches.put_pod(key, pod)
                self._nudge(key)
        self._hear(event)

    def _hear(self, event: Any) -> None:
        if event["type"] is None:  # kopf's mark of an object that was listed
            self._listed()


def registry(api: Api, handlers: Handlers) -> kopf.OperatorRegistry:
    """kopf's view of `handlers`."""
    chosen = kopf.OperatorRegistry()

    @kopf.on.login(registry=chosen)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**await api.connection())

    kopf.on.event(GROUP, VERSION, PLURAL, registry=chosen)(handlers.run_changed)
    kopf.on.event("batch", "v1", "jobs", registry=chosen)(handlers.job_changed)
    kopf.on.event("v1", "pods", registry=chosen)(handlers.pod_changed)
    return chosen


class NothingKept(kopf.DiffBaseStorage):
    """kopf compares no versions of an object for us: by default it copies each whole object at each event."""

    def build(self, **_: Any) -> Any:
        """Nothing."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Nothing."""

    def store(self, **_: Any) -> None:
        """Nothing."""


def settings() -> kopf.OperatorSettings:
    """kopf as a watcher alone: no scanning, no peering, no Events, finalizers or annotations of its own."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.persistence.diffbase_storage = NothingKept()
    chosen.watching.label_selectors["batch", "v1", "jobs"] = OURS["labelSelector"]
    chosen.watching.label_selectors["v1", "pods"] = OURS["labelSelector"]
    chosen.watching.server_timeout = 300
    chosen.watching.chunk_size = 500
    chosen.networking.error_backoffs = (0.5, 1, 2, 5, 10, 10, 10, 10, 10, 10)
    chosen.queueing.idle_timeout = 0.5
    chosen.queueing.exit_timeout = 2.0
    return chosen
