"""Which scenarios run side by side, and what several of them read."""

import fcntl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.lab import Lab
from tests.on_cluster.conftest import Place
from tests.on_cluster.node.records import PodRecord, TurnRecord
from tests.on_cluster.node.scenario import SLOW, finished, model_digest, start

LOCKS = Path(tempfile.gettempdir())


@contextmanager
def locked(name: str, kind: int) -> Iterator[None]:
    """Hold a lock of this machine: fcntl.LOCK_SH with others, fcntl.LOCK_EX alone."""
    with (LOCKS / f"finetune-scenarios-{name}.lock").open("w") as file:
        fcntl.flock(file, kind)
        yield


@pytest.fixture
def alone() -> None:
    """Asks that no other scenario runs meanwhile, as this one disturbs the operator."""


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, lab: Lab) -> Iterator[None]:
    """Every scenario waits for its turn."""
    with locked("turns", fcntl.LOCK_EX if "alone" in request.fixturenames else fcntl.LOCK_SH):
        yield


@pytest.fixture
def pods(place: Place, tmp_path: Path) -> Iterator[PodRecord]:
    """Every change of the namespace's pods."""
    with PodRecord.of(place, "pods", tmp_path) as record:
        yield record


@pytest.fixture
def turns(place: Place, tmp_path: Path) -> Iterator[TurnRecord]:
    """Every change of the namespace's runs."""
    with TurnRecord.of(place, "ftr", tmp_path) as record:
        yield record


@pytest.fixture
def undisturbed(place: Place) -> Callable[[], str]:
    """The digest of the weights that SLOW leaves where nothing disturbs it; trained once for all processes."""

    def digest() -> str:
        key = "undisturbed/digest"
        with locked("undisturbed", fcntl.LOCK_EX):
            if not place.bucket.keys(key):
                start(place, "undisturbed", **SLOW)
                assert place.until("undisturbed", finished, 300)["state"] == "Succeeded", place.story()
                place.bucket.put(key, model_digest(place, "undisturbed").encode())
            return place.bucket.read(key).decode()

    return digest
