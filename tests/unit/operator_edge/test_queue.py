"""The queue: each run once in it and once at work, back-off and wake-ups by run, all on a clock of the test's."""

import asyncio
import time

import pytest

from finetune_operator.model import RunKey
from finetune_operator.queue import LEAST_SECONDS, LONGEST_BACKOFF_SECONDS, Queue

A, B = RunKey("team", "a"), RunKey("team", "b")


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    return Queue(clock, jitter=lambda: 1.0)


def due(queue: Queue) -> list[RunKey]:
    """All that is due, taken."""
    taken = []
    while isinstance(key := queue._next(), RunKey):
        taken.append(key)
    return taken


def test_a_run_is_in_it_once(queue: Queue) -> None:
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert due(queue) == [A, B]


def test_a_run_at_work_comes_again_only_after_its_pass(queue: Queue) -> None:
    queue.add(A)
    assert due(queue) == [A]
    queue.add(A)
    assert due(queue) == []
    queue.done(A)
    assert due(queue) == [A]


def test_a_pass_without_news_is_the_last(queue: Queue) -> None:
    queue.add(A)
    assert due(queue) == [A]
    queue.done(A)
    assert due(queue) == []


def test_a_delayed_run_waits_for_its_time(queue: Queue, clock: Clock) -> None:
    queue.add(A, 10)
    clock.now += 9
    assert due(queue) == []
    clock.now += 1
    assert due(queue) == [A]


def test_an_earlier_wish_stands_and_the_later_one_is_forgotten(queue: Queue, clock: Clock) -> None:
    queue.add(A, 10)
    queue.add(A, 1)
    queue.add(A, 20)
    clock.now += 1
    assert due(queue) == [A]
    queue.done(A)
    clock.now += 30
    assert due(queue) == []


def test_wishes_that_are_superseded_are_forgotten_long_before_their_time(queue: Queue, clock: Clock) -> None:
    """A run with a deadline in a week wishes for it after each pass, and each of its trainer's reports comes before."""
    queue.add(B, 3 * 24 * 3600.0)
    for _ in range(1000):
        queue.follow(A, 7 * 24 * 3600.0)
        queue.add(A, 0.05)
        clock.now += 10
        assert due(queue) == [A]
        queue.done(A)
    assert len(queue._heap) < 100


def test_and_what_is_wished_for_still_comes_in_its_order(queue: Queue, clock: Clock) -> None:
    runs = [RunKey("team", f"r{number:02}") for number in range(40)]
    for earlier in range(10):
        for number, key in enumerate(runs):
            queue.add(key, 1000.0 - 10 * earlier + number / 100)
    clock.now += 911
    assert due(queue) == runs


def test_a_run_comes_at_once_but_once_in_a_row(queue: Queue, clock: Clock) -> None:
    for wanted, comes in ((0.0, 0.0), (-5.0, LEAST_SECONDS), (0.0, LEAST_SECONDS), (3.0, 3.0), (0.0, 0.0)):
        queue.follow(A, wanted)
        if comes:
            assert due(queue) == []
            clock.now += comes
        assert due(queue) == [A]
        queue.done(A)


def test_news_do_not_wait_for_what_a_restless_run_waits_for(queue: Queue) -> None:
    queue.follow(A, 0.0)
    assert due(queue) == [A]
    queue.done(A)
    queue.follow(A, 0.0)
    queue.add(A)
    assert due(queue) == [A]


def test_a_run_that_wants_no_pass_has_none(queue: Queue, clock: Clock) -> None:
    queue.follow(A, None)
    clock.now += 3600
    assert due(queue) == []


def test_failures_back_off_up_to_a_cap(queue: Queue) -> None:
    delays = [queue.failed(A) for _ in range(10)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == LONGEST_BACKOFF_SECONDS


def test_a_pass_that_goes_well_forgets_the_failures(queue: Queue) -> None:
    queue.failed(A)
    queue.failed(A)
    queue.done(A)
    assert queue.failed(A) == 0.5


def test_the_servers_wish_to_wait_is_kept(queue: Queue, clock: Clock) -> None:
    assert queue.failed(A, at_least=30.0) == 30.0
    clock.now += 29
    assert due(queue) == []


def test_a_nudge_does_not_shorten_a_back_off_that_was_nudged_while_failing(queue: Queue) -> None:
    queue.add(A)
    assert due(queue) == [A]
    queue.add(A)
    queue.failed(A, at_least=30.0)
    assert due(queue) == []


def test_who_waits_gets_what_comes(queue: Queue) -> None:
    async def run() -> None:
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add(A)
        assert await waiting == A

    asyncio.run(run())


def test_a_closed_queue_hands_out_nothing(queue: Queue) -> None:
    async def run() -> None:
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add(A, 5)
        queue.close()
        assert await waiting is None
        assert await queue.get() is None

    asyncio.run(run())


async def _first_of_two(queue: Queue) -> list[RunKey | None]:
    """What two waiting workers get of two runs, of which the second is due first."""
    workers = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add(B, 0.02)
    queue.add(A)
    done, waiting = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
    taken = [task.result() for task in done]
    return [*taken, *[await task for task in waiting]]


def test_an_earlier_run_wakes_the_worker_that_waits_for_a_later_one() -> None:
    assert asyncio.run(_first_of_two(Queue(time.monotonic))) == [A, B]
