"""Two operators, one leader (K22): the other takes over from a dead or a frozen one, and what that one would still
write is refused.
"""

import signal
import subprocess

from tests.on_cluster.faults.api import LEASE, until
from tests.on_cluster.faults.test_killed import assert_it_went_well
from tests.on_cluster.faults.world import CONVERGES_SECONDS, Kubelet, World

TAKEOVER_SECONDS = 120.0
"""Of patience; how long it takes is measured elsewhere."""


def holder(world: World) -> str:
    """The leader's name in the Lease; nothing where nobody leads."""
    path = LEASE.format(world.namespace)
    return "" if world.plane.gone(path) else str(world.plane.call("GET", path)["spec"].get("holderIdentity", ""))


def leads(world: World, operator: subprocess.Popen[bytes]) -> bool:
    """Whether `operator` does."""
    return holder(world).endswith(f"/{operator.pid}")


def two(world: World) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """A leader and a standby."""
    first = world.start()
    until(lambda: leads(world, first), CONVERGES_SECONDS, lambda: world.log)
    return first, world.start()


def test_the_standby_takes_over_from_a_killed_leader(world: World) -> None:
    first, second = two(world)
    with Kubelet(world) as kubelet:
        kubelet.ends = False
        world.apply()
        world.until_state("Running")
        first.kill()
        first.wait()
        until(lambda: leads(world, second), TAKEOVER_SECONDS, lambda: world.log)
        kubelet.ends = True
        assert_it_went_well(world)


def test_a_frozen_leader_writes_nothing_and_exits(world: World) -> None:
    first, second = two(world)
    with Kubelet(world):
        first.send_signal(signal.SIGSTOP)
        world.apply()
        until(lambda: leads(world, second), TAKEOVER_SECONDS, lambda: world.log)
        first.send_signal(signal.SIGCONT)
        assert first.wait(TAKEOVER_SECONDS) != 0
        assert_it_went_well(world)
    assert second.poll() is None


def test_sigterm_hands_the_lease_over(world: World) -> None:
    first, second = two(world)
    first.terminate()
    assert first.wait(TAKEOVER_SECONDS) == 0, world.log
    assert not leads(world, first), "released, so that nobody waits for it to expire"
    until(lambda: leads(world, second), TAKEOVER_SECONDS, lambda: world.log)
    with Kubelet(world):
        world.apply()
        assert_it_went_well(world)
