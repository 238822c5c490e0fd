"""The only reads of a pass: one run with its Job, pods, Events and progress."""

import asyncio

from finetune_operator.api import Api
from finetune_operator.caches import Caches
from finetune_operator.cluster import read_job, read_pods, read_run
from finetune_operator.model import EventView, JobView, Observed, PodView, RunKey


async def observe(api: Api, caches: Caches, key: RunKey, *, fresh: bool) -> Observed | None:
    """What is known of the run; None where it is gone. `fresh` reads it from the API server and not from the caches."""
    if fresh:
        await refresh(api, caches, key)
    run = caches.run(key)
    if run is None:
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
    """Bring what the caches know of a run up to date."""
    run, job, pods = await asyncio.gather(read_run(api, key), read_job(api, key), read_pods(api, key))
    if run is None:
        caches.drop_run(key)
    else:
        caches.put_run(run)
    if job is None:
        caches.drop_job(key)
    else:
        caches.put_job(key, job)
    caches.put_pods(key, pods)


def _warnings(caches: Caches, job: JobView | None, pods: tuple[PodView, ...]) -> tuple[EventView, ...]:
    """What Events say about the Job and its pods."""
    uids = [*([job.uid] if job is not None else []), *(pod.uid for pod in pods)]
    found = [event for uid in uids for event in caches.warnings.get(uid, ())]
    return tuple(sorted(found, key=lambda event: event.at))
