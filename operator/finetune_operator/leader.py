"""What only the process with the lease does: watch, decide, write."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from finetune_operator.api import Api, ApiError
from finetune_operator.apply import Applier, NotLeading
from finetune_operator.caches import Caches
from finetune_operator.handlers import Handlers
from finetune_operator.lease import Lease
from finetune_operator.log import log
from finetune_operator.metrics import Metrics
from finetune_operator.model import RunKey
from finetune_operator.namespaces import Namespaces
from finetune_operator.policies.telling import tell_again
from finetune_operator.polling import Poller
from finetune_operator.queue import Queue
from finetune_operator.reconcile import Reconciler
from finetune_operator.resync import Resync
from finetune_operator.settings import PlanSettings
from finetune_operator.warning_events import WarningEvents
from finetune_operator.watches import Watches
from finetune_operator.workers import Workers

GRACE_SECONDS = 10.0
"""For passes in flight when the process is asked to end, and again for the rest."""
SETTLE_SECONDS = 0.05
"""Changes come in bursts, of a Job and its pod say: one pass for each burst."""
FILL_RETRY_SECONDS = 1.0
LOST_LEASE = 1
"""Exit code: the next process leads."""


@dataclass(frozen=True)
class ProcessSettings:
    """What a process is told."""

    namespaces: tuple[str, ...]
    """Where runs are looked after; empty: everywhere."""
    lease_namespace: str | None
    context: str | None
    port: int
    plan: PlanSettings


Task = asyncio.Task[Any]


class Leader:
    """The operator proper; until it leads it only answers probes."""

    def __init__(
        self, api: Api, lease: Lease, settings: ProcessSettings, metrics: Metrics, now: Callable[[], datetime]
    ) -> None:
        self._lease = lease
        self._settings = settings
        self._metrics = metrics
        self._now = now
        self._api = api
        self._caches = Caches()
        self._queue = Queue(time.monotonic)
        namespaces = Namespaces(api, settings.namespaces)
        self._resync = Resync(api, self._caches, namespaces, self._nudge)
        self._warnings = WarningEvents(api, self._caches, namespaces, self._nudge)
        self._poller = Poller(self._caches, self._nudge, metrics, time.monotonic)
        self._applier = Applier(api, self._caches, lease.held, now)
        reconciler = Reconciler(api, self._caches, self._applier, settings.plan, now)
        self._workers = Workers(self._queue, reconciler, metrics, now)
        handlers = Handlers(self._caches, self._nudge, self._resync.ask)
        self._watches = Watches(api, handlers, namespaces, lease.identity)
        self._leading = False
        self._filled = False

    def _nudge(self, key: RunKey) -> None:
        self._queue.add(key, SETTLE_SECONDS)

    def why_not_healthy(self) -> str:
        """The liveness probe; a process that hangs does not answer at all."""
        return ""

    def why_not_ready(self) -> str:
        """A standby is ready to take over; a leader once its watches run."""
        return "watches are being opened" if self._leading and not self._watches.opened.is_set() else ""

    async def lead(self, stop: asyncio.Event) -> int:
        """Until `stop`, or until the lease is lost; the exit code."""
        self._leading = True
        self._metrics.leading.set(1)
        log.info("leading", namespaces=list(self._settings.namespaces) or "all", identity=self._lease.identity)
        keeping, stopping = asyncio.create_task(self._lease.keep()), asyncio.create_task(stop.wait())
        working = asyncio.create_task(self._work())
        await asyncio.wait({keeping, stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        code = _exit_code(stopping, keeping, working)
        log.info("stopping", code=code)
        await self._end(working)
        for task in (keeping, stopping):
            task.cancel()
        self._metrics.leading.set(0)
        return code

    async def _work(self) -> None:
        """Until it is cancelled, or a part of it ends."""
        await self._fill()
        self._filled = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watches.run())
            group.create_task(self._workers.run())
            group.create_task(self._poller.run())
            group.create_task(self._resync.run())
            group.create_task(self._warnings.run())
            group.create_task(self._count_runs())

    async def _fill(self) -> None:
        """Everything is known before anything is decided."""
        while True:
            try:
                await self._resync.fill()
            except ApiError as error:
                log.warning("not-read", error=str(error))
                await asyncio.sleep(error.retry_after or FILL_RETRY_SECONDS)
            else:
                break
        for key in self._caches.known_runs():
            run = self._caches.run(key)
            if run is not None and (tell := tell_again(run.status, self._now())) is not None:
                self._applier.owe(run, run.status, tell)

    async def _end(self, working: Task) -> None:
        """Passes in flight come to their end, within bounds; the rest is cut."""
        if self._filled and self._lease.held() and not working.done():  # before, no pass was begun
            await self._workers.finish(GRACE_SECONDS)
        self._watches.stop()
        working.cancel()
        await asyncio.wait({working}, timeout=GRACE_SECONDS)

    async def _count_runs(self) -> None:
        """Runs by state, for the metrics."""
        while True:
            self._metrics.runs.clear()
            for state, count in self._caches.counts().items():
                self._metrics.runs.labels(state).set(count)
            await asyncio.sleep(30)


def _exit_code(stopping: Task, keeping: Task, working: Task) -> int:
    if stopping.done():
        return 0
    if working.done():
        error = working.exception() if not working.cancelled() else None
        causes = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
        if not all(isinstance(cause, NotLeading) for cause in causes):
            log.error("ended-unasked", error="; ".join(map(str, causes)), exc_info=error)
            return LOST_LEASE
    elif keeping.done() and not keeping.cancelled() and (failure := keeping.exception()) is not None:
        log.error("ended-unasked", error=str(failure), exc_info=failure)
        return LOST_LEASE
    log.error("lease-lost")
    return LOST_LEASE
