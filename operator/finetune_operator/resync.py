"""What a watch can miss: objects that went while it was broken. Lists of names are compared with the caches."""

import asyncio
from collections.abc import Callable

from finetune_operator.api import METADATA_ONLY, Api, ApiError
from finetune_operator.caches import Caches
from finetune_operator.handlers import OURS
from finetune_operator.log import log
from finetune_operator.model import RunKey
from finetune_sdk.api.run import GROUP, PLURAL, VERSION

EVERY_SECONDS = 300.0
PAGE = 500


async def resync_forever(
    api: Api, caches: Caches, namespaces: tuple[str, ...], nudge: Callable[[RunKey], None]
) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await resync(api, caches, namespaces, nudge)
        except ApiError as error:
            log.warning("resync-failed", error=str(error))


async def resync(api: Api, caches: Caches, namespaces: tuple[str, ...], nudge: Callable[[RunKey], None]) -> None:
    """Drop from the caches what is gone, and nudge every run: a lost event costs minutes, not the run."""
    known, runs = caches.uids(), set(caches.known_runs())
    uids = await _uids(api, "/apis/batch/v1", "jobs", namespaces) | await _uids(api, "/api/v1", "pods", namespaces)
    for uid in known.keys() - uids:
        caches.drop_job(known[uid], uid)
        caches.drop_pod(known[uid], uid)
    listed = await _names(api, namespaces)
    for key in runs - listed:
        caches.drop_run(key)
    for key in listed:
        nudge(key)


async def _uids(api: Api, group: str, plural: str, namespaces: tuple[str, ...]) -> set[str]:
    return {item["metadata"]["uid"] for item in await _items(api, group, plural, namespaces, {"labelSelector": OURS})}


async def _names(api: Api, namespaces: tuple[str, ...]) -> set[RunKey]:
    items = await _items(api, f"/apis/{GROUP}/{VERSION}", PLURAL, namespaces, {})
    return {RunKey(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items}


async def _items(
    api: Api, group: str, plural: str, namespaces: tuple[str, ...], query: dict[str, str]
) -> list[dict[str, dict[str, str]]]:
    paths = [f"{group}/namespaces/{name}/{plural}" for name in namespaces] or [f"{group}/{plural}"]
    items: list[dict[str, dict[str, str]]] = []
    for path in paths:
        token = ""
        while True:
            page = await api.get(path, {**query, "limit": str(PAGE), "continue": token}, accept=METADATA_ONLY)
            items += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                break
    return items
