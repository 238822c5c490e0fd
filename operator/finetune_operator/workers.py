"""Workers that take runs from the queue, each a pass at a time."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from finetune_operator.api import ApiError
from finetune_operator.apply import NotLeading
from finetune_operator.log import log
from finetune_operator.metrics import Metrics
from finetune_operator.model import RunKey
from finetune_operator.queue import Queue
from finetune_operator.reconcile import Reconciler

WORKERS = 16
EXPECTED = (404, 409)
"""The run changed or went while it was decided upon: not worth a line."""


class Workers:
    """They end when the queue is closed, each after its pass."""

    def __init__(self, queue: Queue, reconciler: Reconciler, metrics: Metrics, now: Callable[[], datetime]) -> None:
        self._queue = queue
        self._reconciler = reconciler
        self._metrics = metrics
        self._now = now
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Until the queue is closed.

        Raises:
            NotLeading: the lease is lost.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(self._work())
        except BaseExceptionGroup as errors:
            if errors.subgroup(NotLeading) is not None:
                raise NotLeading from errors
            raise
        finally:
            self._ended.set()

    async def finish(self, seconds: float) -> None:
        """Take no further run, and wait for the passes in flight."""
        self._queue.close()
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            log.warning("passes-cut", after_seconds=seconds)

    async def _work(self) -> None:
        while (key := await self._queue.get()) is not None:
            self._metrics.queued.set(len(self._queue))
            await self._pass(key)
            await asyncio.sleep(0)  # a pass need not suspend: the lease and the probes must have their turn

    async def _pass(self, key: RunKey) -> None:
        with self._metrics.pass_seconds.time():
            try:
                wake_at = await self._reconciler.reconcile(key)
            except NotLeading:
                raise
            except ApiError as error:
                delay = self._queue.failed(key, error.retry_after or 0.0)
                self._metrics.passes.labels("again").inc()
                if error.status not in EXPECTED:
                    log.warning(
                        "pass-failed", run=key.name, namespace=key.namespace, error=str(error), again_in=round(delay, 1)
                    )
                return
            except Exception as error:  # noqa: BLE001 - one run's trouble must not end the others'
                self._queue.failed(key)
                self._metrics.passes.labels("bug").inc()
                log.error("pass-broken", run=key.name, namespace=key.namespace, error=str(error), exc_info=error)
                return
        self._queue.done(key)
        self._metrics.passes.labels("done").inc()
        self._queue.follow(key, None if wake_at is None else (wake_at - self._now()).total_seconds())
