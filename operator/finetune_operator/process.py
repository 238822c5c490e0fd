"""The operator as a process: stand by, lead, end in order."""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from finetune_operator.api import connect, own_namespace
from finetune_operator.leader import Leader, ProcessSettings
from finetune_operator.lease import Lease
from finetune_operator.metrics import Metrics
from finetune_operator.preflight import check
from finetune_operator.server import application, serve

Task = asyncio.Task[Any]


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


async def run(settings: ProcessSettings) -> int:
    """The whole life of the process; its exit code."""
    _collect_seldom()
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
    leader = Leader(api, lease, settings, metrics, utc_now)
    runner = await serve(application(metrics, leader.why_not_healthy, leader.why_not_ready), settings.port)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        if not await _first(lease.acquire(), stop):
            return 0
        return await leader.lead(stop)
    finally:
        await lease.release()
        await runner.cleanup()
        await api.close()


def _collect_seldom() -> None:
    """A twelfth of the time went into looking for garbage among what stays: the libraries, and what is kept of runs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


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
