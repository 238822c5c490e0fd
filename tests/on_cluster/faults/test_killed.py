"""Whatever write the operator dies at, before or after it: one Job, one pod, the true status, each turn told once."""

import random
import signal

import pytest

from tests.on_cluster.faults.api import until
from tests.on_cluster.faults.proxy import Answer, Request
from tests.on_cluster.faults.world import CONVERGES_SECONDS, Kubelet, World
from tests.support.long import seeds

WRITES = 7
"""Of a life: Job, Starting, Started, Running, Succeeded, Succeeded, and none."""


def assert_it_went_well(world: World, *, refusals: bool = False) -> None:
    """`refusals`: the Job may have been refused at first, which is told as well."""
    status = world.until_state("Succeeded")
    until(lambda: world.told()["Succeeded"] == 1, CONVERGES_SECONDS, lambda: f"{world.told()}\n{world.log[-4000:]}")
    assert status["evaluation"]["after"] == 0.6
    assert status["jobs"] == 1
    assert status["attempts"] == 1
    assert len(world.jobs()) == 1
    assert len(world.pods()) == 1
    told = world.told()
    if refusals:
        told.pop("JobRejected", None)
    assert told == {"Started": 1, "Succeeded": 1}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, WRITES))
def test_killed_at_a_write(world: World, number: int, when: str) -> None:
    operator = world.start()

    def kill(request: Request) -> Answer | None:
        if request.number != number:
            return None
        operator.send_signal(signal.SIGKILL)
        operator.wait()
        return Answer(500)  # which nobody hears

    setattr(world.proxy, when, kill)
    with Kubelet(world):
        world.apply()
        until(
            lambda: operator.poll() is not None, CONVERGES_SECONDS, lambda: f"no write {number}: {world.proxy.writes}"
        )
        world.start_anew()
        assert_it_went_well(world)


@pytest.mark.parametrize("seed", seeds(range(3), 40))
def test_killed_at_random(world: World, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - a schedule
    with Kubelet(world) as kubelet:
        kubelet.ends = False
        world.apply()
        for _ in range(4):
            operator = world.start_anew()
            with_luck = draw.uniform(0.7, 2.5)
            with pytest.raises(Exception, match="timed out"):
                operator.wait(with_luck)
            operator.kill()
            operator.wait()
        kubelet.ends = True
        world.start_anew()
        assert_it_went_well(world)


def test_the_job_ends_while_no_operator_runs(world: World) -> None:
    """K17."""
    operator = world.start()
    with Kubelet(world) as kubelet:
        kubelet.ends = False
        world.apply()
        world.until_state("Running")
        operator.kill()
        operator.wait()
        kubelet.ends = True
        until(lambda: world.jobs()[0]["status"].get("succeeded"), CONVERGES_SECONDS, world.jobs)
        world.start_anew()
        assert_it_went_well(world)
