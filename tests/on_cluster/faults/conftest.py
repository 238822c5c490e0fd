"""A control plane whose pods nobody schedules or runs, and a world on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.parts import Parts
from tests.on_cluster.faults.api import ControlPlane
from tests.on_cluster.faults.proxy import a_proxy
from tests.on_cluster.faults.world import World, a_namespace


@pytest.fixture(scope="session")
def parts(control_plane: Path) -> Iterator[Parts]:
    """The control plane's processes; without the scheduler, which would say of each pod that no node fits."""
    made = Parts(control_plane.parent)
    made.kill("kube-scheduler")
    yield made
    made.kill()


@pytest.fixture(scope="session")
def plane(control_plane: Path, parts: Parts) -> ControlPlane:
    """The way in."""
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
