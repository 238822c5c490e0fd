"""The end of a leader that is asked to end before it has begun to decide."""

import asyncio
import time
from datetime import UTC, datetime

from finetune_operator.leader import GRACE_SECONDS, Leader, ProcessSettings
from finetune_operator.lease import Lease
from finetune_operator.metrics import Metrics
from finetune_operator.objects import Json
from finetune_operator.settings import PlanSettings
from tests.unit.operator_edge.fake_api import FakeApi

SETTINGS = ProcessSettings((), None, None, 0, PlanSettings(trainer_image="trainer:1"))


class Slow(FakeApi):
    """A list takes longer than anybody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def get(self, path: str, *_: object) -> Json:
        if path.endswith("/pods"):
            self.asked.set()
            await asyncio.Event().wait()
        return await super().get(path)


def utc_now() -> datetime:
    return datetime.now(UTC)


async def stopped_while_filling() -> int:
    server, stop = Slow(), asyncio.Event()
    lease = Lease(server.api, namespace="here", identity="me", clock=time.monotonic, now=utc_now)
    await lease.acquire()
    leading = asyncio.create_task(Leader(server.api, lease, SETTINGS, Metrics(), utc_now).lead(stop))
    await server.asked.wait()
    assert lease.held()
    stop.set()
    return await asyncio.wait_for(leading, GRACE_SECONDS / 2)


def test_a_leader_that_is_still_reading_ends_at_once() -> None:
    assert asyncio.run(stopped_while_filling()) == 0
