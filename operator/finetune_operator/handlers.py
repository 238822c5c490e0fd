"""kopf's handlers: they keep what a watch tells, and nudge. They decide nothing, and write nothing to the cluster."""

from collections.abc import Callable
from typing import Any

import kopf

from finetune_operator.api import Api
from finetune_operator.caches import Caches
from finetune_operator.model import JobView, PodView, RunKey
from finetune_operator.objects import Json
from finetune_sdk.api.run import GROUP, PLURAL, VERSION
from finetune_sdk.contract import MANAGED_BY, MANAGED_BY_LABEL, RUN_LABEL

DELETED = "DELETED"
OURS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"


def registry(api: Api, caches: Caches, nudge: Callable[[RunKey], None]) -> kopf.OperatorRegistry:
    """Handlers that feed `caches` and call `nudge`."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**await api.connection())

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    def run_changed(event: Any, **_: Any) -> None:
        document: Json = dict(event["object"])
        key = _key(document, document["metadata"]["name"])
        if event["type"] == DELETED:
            caches.drop_run(key)
        else:
            caches.put_run(document)
            nudge(key)

    @kopf.on.event("batch", "v1", "jobs", registry=handlers)
    def job_changed(event: Any, **_: Any) -> None:
        document: Json = dict(event["object"])
        if (key := _key_of_label(document)) is not None:
            if event["type"] == DELETED:
                caches.drop_job(key, document["metadata"]["uid"])
            else:
                caches.put_job(key, JobView.from_object(document))
            nudge(key)

    @kopf.on.event("v1", "pods", registry=handlers)
    def pod_changed(event: Any, **_: Any) -> None:
        document: Json = dict(event["object"])
        if (key := _key_of_label(document)) is not None:
            if event["type"] == DELETED:
                caches.drop_pod(key, document["metadata"]["uid"])
            else:
                caches.put_pod(key, PodView.from_object(document))
            nudge(key)

    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf as a watcher alone: no scanning, no peering, no Events and no finalizers of its own."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.watching.label_selectors["batch", "v1", "jobs"] = OURS
    chosen.watching.label_selectors["v1", "pods"] = OURS
    chosen.watching.server_timeout = 300
    chosen.queueing.exit_timeout = 2.0
    return chosen


def _key(document: Json, name: str) -> RunKey:
    return RunKey(document["metadata"]["namespace"], name)


def _key_of_label(document: Json) -> RunKey | None:
    name = (document["metadata"].get("labels") or {}).get(RUN_LABEL)
    return _key(document, name) if name else None
