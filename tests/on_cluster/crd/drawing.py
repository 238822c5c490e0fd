"""Documents by chance: a valid one, with pieces of others grafted on, then a few things done to it that hurt."""

import copy
import random
from collections.abc import Callable
from typing import Any

from tests.support.hostile import ANYWHERE, values_for
from tests.support.spec_places import ANY_KEY, base_with, bases, crd_places, holds, model_places, value_at

Json = dict[str, Any]
ALPHABET = "aZ0-._/: {}'\"\\\n\t\x00é\u2028\U0001f525@"
NAMES = (
    "a", "a0", "a-b", "a" * 50, "a" * 51, "a" * 254, "A", "0a", "-a", "a-", "a.b", "a_b", "", " ", "é", "a\n", 5, True,
    None, ["a"],
)  # fmt: skip
KEYS = (
    "a", "A.b_c-d", "a/b", "a.b/c", "A/b", "a..b/c", "a/", "/a", "a/b/c", "", "-a", "a-", "a b", "é", "a\n", "a" * 63,
    "a" * 64, "a/" + "b" * 63, "a/" + "b" * 64, "a" * 253 + "/b", "a" * 254 + "/b", "kueue.x-k8s.io/queue-name",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    "",
    "a",
    "A.b_c-d",
    "-a",
    "a-",
    "a b",
    "a/b",
    "é",
    "\n",
    "a" * 63,
    "a" * 64,
    "5",
    5,
    True,
    None,
    ["a"],
    {},
)
"""Of labels and annotations."""


class Drawer:
    """Draws documents; the same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - tests are drawn, not secrets
        self._nodes = [crd_places(), model_places()]
        self._places = [place for place in self._nodes[0] if place and place[-1] != ANY_KEY]

    def document(self) -> Json:
        """The next one."""
        document = copy.deepcopy(self._random.choice(bases()))
        for _ in range(self._random.choice((0, 1, 2, 4, 8))):
            self._graft(document)
        for _ in range(self._random.choice((0, 0, 1, 1, 2, 3))):
            self._hurt(document)
        return document

    def _graft(self, document: Json) -> None:
        """Copy a valid piece of another document to its place here."""
        place = self._random.choice(self._places)
        if holds(document["spec"], place[:-1]):
            parent = value_at(document["spec"], place[:-1])
            if isinstance(parent, dict):
                parent[place[-1]] = value_at(base_with(place)["spec"], place)

    def _hurt(self, document: Json) -> None:
        chance = self._random.random()
        if chance < 0.03:
            document["metadata"]["name"] = self._random.choice(NAMES)
        elif chance < 0.08:
            self._label(document["metadata"])
        elif chance < 0.3:
            self._to_a_bound(document)
        elif parents := [(part, key) for part in _containers(document["spec"]) for key in _keys(part)]:
            part, key = self._random.choice(parents)
            self._random.choice(HURTS)(self._random, part, key)

    def _label(self, metadata: Json) -> None:
        kind = self._random.choice(("map", "map", "map", "value", "namespace"))
        field = self._random.choice(("labels", "annotations"))
        if kind == "map":
            metadata[field] = {self._random.choice(KEYS): self._random.choice(VALUES)}
        elif kind == "value":
            metadata[self._random.choice((field, "unknown"))] = copy.deepcopy(self._random.choice(ANYWHERE))
        else:
            metadata["namespace"] = self._random.choice(("default", None, 5, "Default", ["default"]))

    def _to_a_bound(self, document: Json) -> None:
        place = self._random.choice(self._places)
        if holds(document["spec"], place):
            values = list(
                values_for(self._random.choice(self._nodes)[place], value_at(base_with(place)["spec"], place))
            )
            if values:
                value_at(document["spec"], place[:-1])[place[-1]] = copy.deepcopy(self._random.choice(values))


def _value(draw: random.Random, part: Any, key: Any) -> None:
    part[key] = copy.deepcopy(draw.choice(ANYWHERE))


def _text(draw: random.Random, part: Any, key: Any) -> None:
    if isinstance(text := part[key], str):
        at, more = draw.randint(0, len(text)), draw.choice(ALPHABET)
        part[key] = text[:at] + draw.choice((more, "", more * 3)) + text[at + draw.choice((0, 0, 1, 3)) :]


def _number(draw: random.Random, part: Any, key: Any) -> None:
    if isinstance(number := part[key], int | float):
        changes = (number + 1, -number, float(number), number * 10**6, number / 3, str(number), bool(number))
        part[key] = draw.choice(changes)


def _drop(draw: random.Random, part: Any, key: Any) -> None:
    del part[key]


def _rename(draw: random.Random, part: Any, key: Any) -> None:
    if isinstance(part, dict):
        text = str(key)
        names = (text.upper(), text.lower(), f"{text}s", text[:-1], f" {text}", "", text.replace("e", "é"))
        part[draw.choice(names)] = part.pop(key)


def _list(draw: random.Random, part: Any, key: Any) -> None:
    held = part[key]
    if isinstance(held, list) and held:
        part[key] = draw.choice(([*held, held[0]], [*held, None], held * 20, held[1:], [held]))
    else:
        part[key] = [held]


def _swap(draw: random.Random, part: Any, key: Any) -> None:
    """What lies here is what lies next to it."""
    part[key] = copy.deepcopy(part[draw.choice(_keys(part))])


HURTS: tuple[Callable[[random.Random, Any, Any], None], ...] = (
    _value, _value, _text, _text, _number, _number, _drop, _rename, _list, _swap,
)  # fmt: skip


def _keys(part: Any) -> list[Any]:
    return list(part) if isinstance(part, dict) else list(range(len(part)))


def _containers(value: Any) -> list[Any]:
    """Every map and list at and below `value`."""
    found, waiting = [], [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict | list):
            found.append(part)
            waiting.extend(part.values() if isinstance(part, dict) else part)
    return found
