"""A control plane and a world on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.on_cluster.faults.api import ControlPlane
from tests.on_cluster.faults.proxy import a_proxy
from tests.on_cluster.faults.world import World, a_namespace


@pytest.fixture(scope="session")
def plane(control_plane: Path) -> ControlPlane:
    """A control plane with the CRD, whose controller manager makes pods that nobody runs."""
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
