"""Objects as the API server has them, with as much in them as is read, and lists of them."""

from typing import Any

from finetune_operator.cluster import BATCH, CORE, OURS_API
from finetune_operator.model import RunKey
from finetune_operator.objects import Json
from finetune_sdk.contract import RUN_LABEL, RUN_UID_LABEL
from tests.unit.operator_edge.fake_api import FakeApi

CREATED = "2026-01-01T00:00:00Z"
RUNS, JOBS, PODS = (OURS_API, "finetuneruns"), (BATCH, "jobs"), (CORE, "pods")
KINDS = (RUNS, JOBS, PODS)


def run(key: RunKey, uid: str, version: int, state: str = "") -> Json:
    """A FinetuneRun."""
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FinetuneRun",
        "metadata": _metadata(key.namespace, key.name, uid) | {"resourceVersion": str(version)},
        "spec": {},
        "status": {"state": state} if state else {},
    }


def job(key: RunKey, uid: str, run_uid: str, **status: Any) -> Json:
    """Its Job."""
    metadata = _metadata(key.namespace, f"{key.name}-trainer", uid) | {"labels": {RUN_LABEL: key.name}}
    owner = {"uid": run_uid, "controller": True}
    spec = {"template": {"spec": {"containers": [{"image": "i"}]}}}
    return {"metadata": metadata | {"ownerReferences": [owner]}, "spec": spec, "status": status}


def pod(key: RunKey, uid: str, run_uid: str, phase: str = "Pending") -> Json:
    """A pod of its Job."""
    labels = {RUN_LABEL: key.name, RUN_UID_LABEL: run_uid}
    metadata = _metadata(key.namespace, f"{key.name}-trainer-{uid}", uid) | {"labels": labels}
    return {"metadata": metadata, "status": {"phase": phase}}


def _metadata(namespace: str, name: str, uid: str) -> Json:
    return {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": CREATED}


def place(kind: tuple[str, str], namespace: str = "") -> str:
    """Where a kind is listed; in all namespaces where none is named."""
    group, plural = kind
    return f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"


def listed(server: FakeApi, kind: tuple[str, str], namespace: str, *items: Json) -> None:
    """From now on a list answers so."""
    server.objects[place(kind, namespace)] = {"items": list(items), "metadata": {}}


def empty(server: FakeApi, *namespaces: str) -> None:
    """These namespaces answer, and nothing is in them."""
    for namespace in namespaces:
        for kind in KINDS:
            listed(server, kind, namespace)
