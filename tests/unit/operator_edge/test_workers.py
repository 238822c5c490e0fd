"""A run that is never done with takes neither the loop from the lease nor the passes from other runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from finetune_operator.metrics import Metrics
from finetune_operator.model import RunKey
from finetune_operator.queue import Queue
from finetune_operator.workers import Workers

KEY = RunKey("team", "r")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOST = 50


class Restless:
    """In a reconciler's place: it suspends in no pass, and always wants another at once."""

    def __init__(self) -> None:
        self.queue = Queue(lambda: 0.0)
        self.passes = 0

    async def reconcile(self, _: RunKey) -> datetime:
        self.passes += 1
        if self.passes == MOST:
            self.queue.close()
        return NOW - timedelta(seconds=1)

    def workers(self) -> Workers:
        return Workers(self.queue, cast("Any", self), Metrics(), lambda: NOW)


def test_a_wake_that_is_past_does_not_make_a_run_spin() -> None:
    """On a clock that stands still there is one pass that was asked for, and one that it asked for itself."""
    restless = Restless()

    async def run() -> None:
        restless.queue.add(KEY)
        working = asyncio.create_task(restless.workers().run())
        await asyncio.sleep(0.05)
        restless.queue.close()
        await working

    asyncio.run(run())
    assert restless.passes == 2


def test_passes_that_never_suspend_let_others_have_their_turn() -> None:
    restless, turns = Restless(), 0

    async def others() -> None:
        nonlocal turns
        while restless.passes < MOST:
            turns += 1
            await asyncio.sleep(0)

    async def run() -> None:
        for number in range(MOST):
            restless.queue.add(RunKey("team", str(number)))
        async with asyncio.TaskGroup() as group:
            group.create_task(restless.workers().run())
            group.create_task(others())

    asyncio.run(run())
    assert turns > 2
