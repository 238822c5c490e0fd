"""The operator as a process: stand by, lead, end in order."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kopf
from kopf._core.engines.peering import Identity

from finetune_operator import handlers
from finetune_operator.api import Api, ApiError, connect, own_namespace
from finetune_operator.apply import Applier, NotLeading
from finetune_operator.caches import Caches
from finetune_operator.lease import Lease
from finetune_operator.log import log
from finetune_operator.metrics import Metrics
from finetune_operator.model import RunKey
from finetune_operator.polling import Poller
from finetune_operator.preflight import check
from finetune_operator.queue import Queue
from finetune_operator.reconcile import Reconciler
from finetune_operator.resync import resync_forever
from finetune_operator.server import application, serve
from finetune_operator.settings import PlanSettings

WORKERS = 16
GRACE_SECONDS = 10.0
"""For passes in flight when the process is asked to end."""
LOST_LEASE = 1
"""Exit code: the next process leads."""


Task = asyncio.Task[Any]


@dataclass(frozen=True)
class ProcessSettings:
    """What a process is told."""

    namespaces: tuple[str, ...]
    """Where runs are looked after; empty: everywhere."""
    lease_namespace: str | None
    context: str | None
    port: int
    plan: PlanSettings


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


async def run(settings: ProcessSettings) -> int:
    """The whole life of the process; its exit code."""
    metrics = Metrics()
    api = await connect(settings.context, metrics)
    await check(api, settings.namespaces)
    lease = Lease(
        api,
        namespace=settings.lease_namespace or own_namespace(settings.context),
        identity=f"{socket.gethostname()}/{os.getpid()}",
        clock=time.monotonic,
        now=utc_now,
    )
    leader = Leader(api, lease, settings, metrics)
    runner = await serve(application(metrics, leader.why_not_healthy, leader.why_not_ready), settings.port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        if not await _first(lease.acquire(), stop):
            return 0
        return await leader.lead(stop)
    finally:
        await lease.release()
        await runner.cleanup()
        await api.close()


async def _first(waited: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether `waited` ended before `stop`."""
    task: Task = asyncio.create_task(waited)
    stopping: Task = asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()
    if task in done:
        task.result()
    return task in done


def _failed(task: Task) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


class Leader:
    """What only the process with the lease does."""

    def __init__(self, api: Api, lease: Lease, settings: ProcessSettings, metrics: Metrics) -> None:
        self._api = api
        self._lease = lease
        self._settings = settings
        self._metrics = metrics
        self._caches = Caches()
        self._queue = Queue(time.monotonic)
        applier = Applier(api, self._caches, lease.held, utc_now)
        self._reconciler = Reconciler(api, self._caches, applier, settings.plan, utc_now)
        self._stopping = False
        self._ready = asyncio.Event()
        self._leading = False

    def why_not_healthy(self) -> str:
        """The liveness probe; a process that hangs does not answer at all."""
        return ""

    def why_not_ready(self) -> str:
        """A standby is ready to take over; a leader once its watches run."""
        return "watches are being opened" if self._leading and not self._ready.is_set() else ""

    async def lead(self, stop: asyncio.Event) -> int:
        """Until `stop`, or until the lease is lost; the exit code."""
        self._leading = True
        self._metrics.leading.set(1)
        log.info("leading", namespaces=list(self._settings.namespaces) or "all")
        kopf_stop = asyncio.Event()
        background: list[Task] = [
            asyncio.create_task(self._watch(kopf_stop)),
            asyncio.create_task(Poller(self._caches, self._queue.add, self._metrics, time.monotonic).run()),
            asyncio.create_task(resync_forever(self._api, self._caches, self._settings.namespaces, self._queue.add)),
            asyncio.create_task(self._count_runs()),
        ]
        workers: list[Task] = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
        keeping, stopping = asyncio.create_task(self._lease.keep()), asyncio.create_task(stop.wait())
        await asyncio.wait({keeping, stopping, *background, *workers}, return_when=asyncio.FIRST_COMPLETED)
        code = self._exit_code(keeping, [*background, *workers])
        log.info("stopping", code=code)
        self._stopping = True
        kopf_stop.set()
        await self._end(workers, [*background, keeping, stopping])
        return code

    def _exit_code(self, keeping: Task, others: list[Task]) -> int:
        for task in others[1:] if not _failed(others[0]) else others:  # kopf's watches end in order when asked to
            if task.done() and not task.cancelled():
                error = task.exception()
                if not isinstance(error, NotLeading):
                    log.error("ended-unasked", error=str(error), exc_info=error)
                return LOST_LEASE
        if keeping.done():
            log.error("lease-lost")
            return LOST_LEASE
        return 0

    async def _end(self, workers: list[Task], others: list[Task]) -> None:
        """Passes in flight come to their end, within bounds; the rest is cut."""
        for key in self._caches.known_runs():  # wakes idle workers, which then see that the process stops
            self._queue.add(key)
        await asyncio.wait(workers, timeout=GRACE_SECONDS if self._lease.held() and self._caches.known_runs() else 0.1)
        for task in (*workers, *others):
            task.cancel()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*workers, *others, return_exceptions=True), GRACE_SECONDS)

    async def _watch(self, stop: asyncio.Event) -> None:
        await kopf.operator(
            registry=handlers.registry(self._api, self._caches, self._queue.add),
            settings=handlers.settings(),
            standalone=True,
            identity=Identity(self._lease.identity),  # else kopf asks for a user name, which a pod need not have
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            stop_flag=stop,
            ready_flag=self._ready,
        )

    async def _work(self) -> None:
        """One worker: pass after pass, each over another run."""
        while not self._stopping:
            key = await self._queue.get()
            self._metrics.queued.set(len(self._queue))
            if not self._stopping:
                await self._pass(key)

    async def _pass(self, key: RunKey) -> None:
        with self._metrics.pass_seconds.time():
            try:
                wake_at = await self._reconciler.reconcile(key)
            except NotLeading:
                raise
            except ApiError as error:
                delay = self._queue.failed(key, error.retry_after or 0.0)
                self._metrics.passes.labels("again").inc()
                if error.status not in (404, 409):
                    log.warning("pass-failed", run=key.name, namespace=key.namespace, error=str(error), again_in=delay)
                return
            except Exception as error:  # noqa: BLE001 - one run's trouble must not end the others'
                self._queue.failed(key)
                self._metrics.passes.labels("bug").inc()
                log.error("pass-broken", run=key.name, namespace=key.namespace, error=str(error), exc_info=error)
                return
        self._queue.done(key)
        self._metrics.passes.labels("done").inc()
        if wake_at is not None:
            self._queue.add(key, max(0.0, (wake_at - utc_now()).total_seconds()))

    async def _count_runs(self) -> None:
        """Runs by state, for the metrics."""
        while True:
            await asyncio.sleep(30)
            counts: dict[str, int] = {}
            for key in self._caches.known_runs():
                state = self._caches.state(key)
                counts[state] = counts.get(state, 0) + 1
                await asyncio.sleep(0)
            self._metrics.runs.clear()
            for state, count in counts.items():
                self._metrics.runs.labels(state).set(count)
