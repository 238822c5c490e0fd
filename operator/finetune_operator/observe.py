"""The only reads of a pass: one run with its Job, pods, Events and progress."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from finetune_operator.api import Api
from finetune_operator.caches import Caches
from finetune_operator.cluster import read_job, read_pods, read_run
from finetune_operator.model import EventView, JobView, Observed, PodView, RunKey

Found = TypeVar("Found")


async def observe(api: Api, caches: Caches, key: RunKey, *, fresh: bool) -> Observed | None:
    """What is known of the run; None where it is gone. `fresh` reads it from the API server and not from the caches."""
    if fresh:
        await refresh(api, caches, key)
    run = caches.run(key)
    if run is None:
        caches.rejections.pop(key, None)  # kept by a pass that was under way when the run went
        return None
    job, pods = caches.job(key), caches.pods(key)
    return Observed(
        run=run,
        job=job,
        pods=pods,
        events=_warnings(caches, job, pods),
        polled=caches.polled.get(key),
        rejection=caches.rejections.get(key),
        fresh=fresh,
    )


async def refresh(api: Api, caches: Caches, key: RunKey) -> None:
    """Bring what the caches know of a run up to date.

    Raises:
        ApiError: some of it is as it was.
    """
    await asyncio.gather(_refresh_run(api, caches, key), refresh_job(api, caches, key), _refresh_pods(api, caches, key))


async def _refresh_run(api: Api, caches: Caches, key: RunKey) -> None:
    run = await _settled(lambda: read_run(api, key), lambda: caches.version(key))
    if run is None:
        caches.drop_run(key, caches.uid(key))
    else:
        caches.put_run(run)


async def refresh_job(api: Api, caches: Caches, key: RunKey) -> None:
    """Bring what the caches know of a run's Job up to date.

    Raises:
        ApiError: it is as it was.
    """
    job = await _settled(lambda: read_job(api, key), lambda: caches.job(key))
    if job is not None:
        caches.put_job(key, job)
    elif (gone := caches.job(key)) is not None:
        caches.drop_job(key, gone.uid)


async def _refresh_pods(api: Api, caches: Caches, key: RunKey) -> None:
    caches.put_pods(key, await _settled(lambda: read_pods(api, key), lambda: caches.pods(key)))


async def _settled(read: Callable[[], Awaitable[Found]], known: Callable[[], object]) -> Found:
    """What `read` answers. Where a watch changes what is `known` meanwhile it may be the older, and is read again."""
    while True:
        before = known()
        found = await read()
        if known() == before:
            return found


def _warnings(caches: Caches, job: JobView | None, pods: tuple[PodView, ...]) -> tuple[EventView, ...]:
    """What Events say about the Job and its pods."""
    uids = [*([job.uid] if job is not None else []), *(pod.uid for pod in pods)]
    found = [event for uid in uids for event in caches.warnings.get(uid, ())]
    return tuple(sorted(found, key=lambda event: event.at))
