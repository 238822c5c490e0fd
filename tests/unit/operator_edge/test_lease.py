"""The lease as two processes meet it, on a clock of the test's."""

import asyncio
from datetime import UTC, datetime

import pytest

from finetune_operator.api import ApiError
from finetune_operator.lease import DURATION_SECONDS, NAME, Lease
from finetune_operator.objects import Json
from tests.unit.operator_edge.fake_api import FakeApi

PLACE = f"/apis/coordination.k8s.io/v1/namespaces/here/leases/{NAME}"


class Slow(FakeApi):
    """A write takes its time before it lands, and its answer too."""

    def __init__(self, before: float, after: float) -> None:
        super().__init__()
        self.before, self.after = before, after

    async def post(self, path: str, body: Json) -> Json:
        await asyncio.sleep(self.before)
        stored = await super().post(path, body)
        await asyncio.sleep(self.after)
        return stored


class World:
    """One Lease object, and a clock that both processes share."""

    def __init__(self) -> None:
        self.server = FakeApi()
        self.now = 1000.0

    def lease(self, identity: str) -> Lease:
        return Lease(
            self.server.api,
            namespace="here",
            identity=identity,
            clock=lambda: self.now,
            now=lambda: datetime.fromtimestamp(self.now, UTC),
        )

    @property
    def holder(self) -> str:
        holder: str = self.server.objects[PLACE]["spec"]["holderIdentity"]
        return holder


@pytest.fixture
def world() -> World:
    return World()


def tries(lease: Lease) -> bool:
    return asyncio.run(lease._try())


def test_the_first_takes_it_and_the_second_stands_by(world: World) -> None:
    first, second = world.lease("first"), world.lease("second")
    assert tries(first)
    assert not tries(second)
    assert (first.held(), second.held(), world.holder) == (True, False, "first")


def test_an_expired_lease_is_taken_over(world: World) -> None:
    first, second = world.lease("first"), world.lease("second")
    tries(first)
    tries(second)
    world.now += DURATION_SECONDS - 0.1
    assert not tries(second)
    world.now += 0.1
    assert tries(second)
    assert world.holder == "second"
    assert world.server.objects[PLACE]["spec"]["leaseTransitions"] == 1


def test_a_lease_that_changes_is_not_expired_whatever_its_time_says(world: World) -> None:
    first, second = world.lease("first"), world.lease("second")
    tries(first)
    tries(second)
    for _ in range(5):
        world.now += DURATION_SECONDS - 1
        tries(first)
        assert not tries(second)


def test_a_leader_that_slept_may_write_nothing_before_it_asks(world: World) -> None:
    first, second = world.lease("first"), world.lease("second")
    tries(first)
    tries(second)
    world.now += DURATION_SECONDS
    assert not first.held()
    tries(second)
    assert not tries(first), "and it is another's now"
    assert not first.held()


def test_a_leader_stops_writing_before_another_begins(world: World) -> None:
    """Its clock starts before its renewal is sent, the other's after it was seen."""
    first, second = world.lease("first"), world.lease("second")
    tries(first)
    world.now += 0.5
    tries(second)
    world.now += DURATION_SECONDS - 0.5
    assert not first.held()
    assert not tries(second)


def test_a_released_lease_is_free_at_once(world: World) -> None:
    first, second = world.lease("first"), world.lease("second")
    tries(first)
    asyncio.run(first.release())
    assert not first.held()
    assert tries(second)


def test_a_lease_that_cannot_be_reached_ends_the_leader_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.lease("first")
    tries(first)

    def down(method: str, path: str) -> None:
        raise ApiError(0, "connection refused")

    world.server.refuse = down
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.now += seconds

    monkeypatch.setattr("finetune_operator.lease.asyncio.sleep", sleep)
    asyncio.run(first.keep())
    assert 7.0 <= sum(slept) < DURATION_SECONDS
    assert first.held(), "so that what is in flight may still end"


def test_a_standby_waits_no_longer_than_the_lease_lasts(world: World) -> None:
    first, second = world.lease("first"), world.lease("second")
    tries(first)
    tries(second)
    world.now += DURATION_SECONDS - 0.5
    tries(second)
    assert second._pause() == pytest.approx(0.5)


async def stopped_while_it_writes(lease: Lease) -> None:
    """As the process does it that is asked to end."""
    acquiring = asyncio.create_task(lease.acquire())
    await asyncio.sleep(0.02)
    assert not lease.held(), "nobody has said so yet"
    acquiring.cancel()
    await lease.release()
    assert acquiring.cancelled()


@pytest.mark.parametrize(("before", "after"), [(0.1, 0.0), (0.0, 0.1)], ids=["on its way", "landed"])
def test_a_lease_that_nobody_waited_for_is_released(world: World, before: float, after: float) -> None:
    world.server = Slow(before, after)
    lease = world.lease("first")
    asyncio.run(stopped_while_it_writes(lease))
    assert (lease.held(), world.holder) == (False, "")


def test_a_lease_is_not_released_for_another(world: World) -> None:
    first, second = world.lease("first"), world.lease("second")
    tries(first)
    tries(second)
    world.now += DURATION_SECONDS
    tries(second)
    asyncio.run(first.release())
    assert (second.held(), world.holder) == (True, "second")


def test_a_release_that_is_not_answered_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_operator.lease.RETRY_SECONDS", 0.05)
    world.server = Slow(60.0, 0.0)
    asyncio.run(asyncio.wait_for(stopped_while_it_writes(world.lease("first")), 5.0))
