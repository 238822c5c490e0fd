"""A control plane whose pods nobody schedules or runs, and a world on it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.on_cluster.faults.api import ControlPlane
from tests.on_cluster.faults.proxy import a_proxy
from tests.on_cluster.faults.world import World, a_namespace


@pytest.fixture(scope="session")
def plane(control_plane: Path) -> ControlPlane:
    """Without its scheduler, which would say of each pod that no node fits."""
    pid = control_plane.parent / "kube-scheduler.pid"
    os.kill(int(pid.read_text()), signal.SIGKILL)
    pid.unlink()
    return ControlPlane.of(control_plane)


@pytest.fixture
def world(plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    """A namespace of its own, with a proxy that does nothing yet."""
    with a_namespace(plane) as namespace, a_proxy(plane) as proxy:
        made = World(plane, proxy, namespace, tmp_path)
        try:
            yield made
        finally:
            made.stop()
