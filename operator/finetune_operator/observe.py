"""The only reads of a pass: one run with its Job, pods, Events and progress."""

from finetune_operator.api import Api
from finetune_operator.caches import Caches
from finetune_operator.cluster import read_job, read_pods, read_run, read_warnings
from finetune_operator.model import EventView, JobView, Observed, PodView, RunKey, RunView


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
        events=await _warnings(api, run, job, pods),
        polled=caches.polled.get(key),
        rejection=caches.rejections.get(key),
        fresh=fresh,
    )


async def refresh(api: Api, caches: Caches, key: RunKey) -> None:
    """Bring what the caches know of a run up to date."""
    found = await read_run(api, key)
    if found is None:
        caches.drop_run(key)
    else:
        caches.put_run(found[0])
    job = await read_job(api, key)
    if job is None:
        caches.drop_job(key)
    else:
        caches.put_job(key, job)
    caches.put_pods(key, await read_pods(api, key))


async def _warnings(api: Api, run: RunView, job: JobView | None, pods: tuple[PodView, ...]) -> tuple[EventView, ...]:
    """Read only where a run is held up: they say why a pod is not made or does not start."""
    if job is None or job.finished or job.suspended or job.run_uid != run.uid:
        return ()
    living = [pod for pod in pods if pod.living]
    if any(pod.running for pod in living) or run.status.job_uid != job.uid:
        return ()
    return await read_warnings(api, run.key.namespace, [job.uid, *(pod.uid for pod in living[-1:])])
