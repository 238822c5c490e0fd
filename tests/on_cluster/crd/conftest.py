"""The API server of the control plane, and kubectl on it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.on_cluster.conftest import Kube
from tests.on_cluster.crd.server import Server


@pytest.fixture(scope="session")
def server(kubectl: Kube) -> Server:
    """For documents in bulk."""
    return Server(kubectl.kubeconfig)


@pytest.fixture(scope="session")
def kubectl(control_plane: Path) -> Kube:
    """For what a person sees."""
    return Kube(control_plane)


@pytest.fixture
def namespace(kubectl: Kube) -> Iterator[str]:
    """An empty namespace."""
    name = f"crd-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
