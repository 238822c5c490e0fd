"""What the API server accepts and what the models accept are one set, with the same defaults.

`make test` asks about a fixed sample, `make test-long` about ten times as many documents.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pytest

from tests.on_cluster.crd.drawing import Drawer
from tests.on_cluster.crd.server import Server
from tests.on_cluster.crd.verdicts import difference, is_valid, smallest
from tests.support.hostile import ANYWHERE, values_for
from tests.support.long import LONG
from tests.support.spec_places import base_with, bases, crd_places, dotted, holds, model_places, replaced, value_at

Json = dict[str, Any]
DRAWN = 60_000 if LONG else 3_000
STEP = 1 if LONG else 8
"""Of the documents with anything anywhere, each so many is asked about."""
AGAIN = 2_000 if LONG else 200
BATCH = 1000


def at_every_bound() -> Iterator[Json]:
    """Valid documents with one place replaced by what its schema makes interesting: bounds, near misses, odd maps."""
    for place, node in crd_places().items():
        base = base_with(place)
        present, seen = value_at(base["spec"], place), set[str]()
        for value in (*values_for(node, present), *values_for(model_places()[place], present)):
            if (text := json.dumps(value)) not in seen:
                seen.add(text)
                yield replaced(base, place, value)


def anything_anywhere() -> Iterator[Json]:
    """Valid documents with one place replaced by each value of every type."""
    for place in crd_places():
        base = base_with(place)
        yield from (replaced(base, place, value) for value in ANYWHERE)


def drawn(seed: int) -> Iterator[Json]:
    """Documents by chance, without end."""
    drawer = Drawer(seed)
    while True:
        yield drawer.document()


def assert_the_same(server: Server, documents: Iterable[Json]) -> None:
    waiting, accepted, refused = iter(documents), 0, 0
    while batch := list(islice(waiting, BATCH)):
        for document, answer in zip(batch, server.create_all(batch), strict=True):
            accepted, refused = accepted + answer.accepted, refused + (not answer.accepted)
            if difference(document, answer):
                small = smallest(document, lambda one: difference(one, server.create(one)) is not None)
                told = difference(small, server.create(small))
                pytest.fail(f"{json.dumps(small, ensure_ascii=False)}\n{told}", pytrace=False)
    # Without enough of both kinds the sample would show nothing.
    assert min(accepted, refused) > 0.05 * (accepted + refused)


@pytest.mark.parametrize("place", crd_places(), ids=dotted)
def test_every_place_is_set_by_a_valid_document(place: tuple[str | int, ...]) -> None:
    assert any(holds(base["spec"], place) for base in bases())


def test_the_crd_has_every_place_of_the_models() -> None:
    assert set(crd_places()) == set(model_places())


def test_at_every_bound(server: Server) -> None:
    assert_the_same(server, at_every_bound())


def test_anything_anywhere(server: Server) -> None:
    assert_the_same(server, islice(anything_anywhere(), 0, None, STEP))


def test_drawn(server: Server) -> None:
    assert_the_same(server, islice(drawn(seed=1), DRAWN))


def without_points(value: Any) -> Any:
    """As kubectl sends a file: 5.0 is 5."""
    if isinstance(value, dict):
        return {key: without_points(below) for key, below in value.items()}
    if isinstance(value, list):
        return [without_points(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def test_the_same_document_again_is_no_change(server: Server, namespace: str) -> None:
    """As GitOps sends it every few minutes, nulls, empty lists and all."""
    documents = (without_points(document) for document in drawn(seed=2))
    for number, document in enumerate(islice(filter(is_valid, documents), AGAIN)):
        document["metadata"] = {"name": f"r{number}"}
        stored = server.create(document, namespace, store=True)
        assert stored.accepted, stored.body
        document["metadata"]["resourceVersion"] = stored.body["metadata"]["resourceVersion"]
        again = server.replace(document, namespace)
        assert again.accepted, (document, again.body)
        assert again.body["metadata"]["generation"] == 1
