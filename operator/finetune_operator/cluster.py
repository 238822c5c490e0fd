"""Where things are in the API, and reading one run with all that belongs to it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from finetune_operator.api import Api, ApiError
from finetune_operator.manifests import job_name
from finetune_operator.model import JobView, PodView, RunKey
from finetune_operator.objects import Json
from finetune_sdk.api.run import GROUP, PLURAL, VERSION
from finetune_sdk.contract import MANAGED_BY, MANAGED_BY_LABEL, RUN_LABEL

NOT_FOUND = 404
PAGE = 500
"""Objects of one answer to a list."""
CORE, BATCH, OURS_API = "/api/v1", "/apis/batch/v1", f"/apis/{GROUP}/{VERSION}"
OURS = {"labelSelector": f"{MANAGED_BY_LABEL}={MANAGED_BY}"}


def run_path(key: RunKey, subresource: str = "") -> str:
    """A FinetuneRun."""
    return f"/apis/{GROUP}/{VERSION}/namespaces/{key.namespace}/{PLURAL}/{key.name}{subresource}"


def jobs_path(namespace: str) -> str:
    """Jobs of a namespace."""
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def job_path(key: RunKey) -> str:
    """A run's Job."""
    return f"{jobs_path(key.namespace)}/{job_name(key.name)}"


def events_path(namespace: str) -> str:
    """Events of a namespace."""
    return f"/api/v1/namespaces/{namespace}/events"


async def read_run(api: Api, key: RunKey) -> Json | None:
    """The run as it is now."""
    document: Json | None = await _get(api, run_path(key))
    return document


async def read_job(api: Api, key: RunKey) -> JobView | None:
    """The run's Job as it is now."""
    document = await _get(api, job_path(key))
    return JobView.from_object(document) if document is not None else None


async def read_pods(api: Api, key: RunKey) -> tuple[PodView, ...]:
    """Pods of the run's name as they are now, the oldest first."""
    path, query = f"/api/v1/namespaces/{key.namespace}/pods", {"labelSelector": f"{RUN_LABEL}={key.name}"}
    items = (await api.get(path, query))["items"]
    return tuple(sorted(map(PodView.from_object, items), key=lambda pod: (pod.created_at, pod.name)))


async def read_all(
    api: Api,
    group: str,
    plural: str,
    namespace: str | None,
    query: Mapping[str, str],
    *,
    accept: str = "application/json",
) -> AsyncIterator[Json]:
    """Every object of a kind in `namespace`, page after page; None: in all."""
    path, token = f"{group}/namespaces/{namespace}/{plural}" if namespace is not None else f"{group}/{plural}", ""
    while True:
        page = await api.get(path, {**query, "limit": str(PAGE), "continue": token}, accept)
        for item in page["items"] or ():  # null where a list of metadata is empty
            yield item
        if not (token := page["metadata"].get("continue", "")):
            break


async def _get(api: Api, path: str) -> Any:
    try:
        return await api.get(path)
    except ApiError as error:
        if error.status == NOT_FOUND:
            return None
        raise
