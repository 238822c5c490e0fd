"""Do API server and models say the same of a document, and read the same from it? And if not, of how small a one?"""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from finetune_sdk.api import FinetuneRun
from tests.on_cluster.crd.server import Answer

Json = dict[str, Any]
PROBES = 400
"""Documents that shrinking may ask for."""


def is_valid(document: Json) -> bool:
    """Whether the models accept it."""
    try:
        FinetuneRun.model_validate(document, by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True


def difference(document: Json, answer: Answer) -> str | None:
    """In what the models differ from the API server's answer; None where they agree."""
    try:
        model = FinetuneRun.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as refused:
        told = "; ".join(f"{error['loc']}: {error['msg']}" for error in refused.errors(include_url=False))
        return f"accepted by the API server, refused by the models: {told}" if answer.accepted else None
    if not answer.accepted:
        return f"accepted by the models, refused by the API server: {answer.body['message']}"
    try:
        stored = FinetuneRun.model_validate(answer.body, by_alias=True, by_name=False)
    except ValidationError as refused:
        return f"the models cannot read what the API server stored: {refused}"
    return _defaults_differ(model, stored)


def _defaults_differ(model: FinetuneRun, stored: FinetuneRun) -> str | None:
    """The same values; and whatever has a default stands in the stored object, but for empty lists and maps."""
    one, other = (_stored_numbers(run.spec.model_dump(by_alias=True)) for run in (model, stored))
    if one != other:
        return f"read as {one}\nstored as {other}"
    meant = without_empty(_stored_numbers(model.spec.model_dump(by_alias=True, exclude_none=True)))
    written = without_empty(_stored_numbers(stored.spec.model_dump(by_alias=True, exclude_unset=True)))
    if meant != written:
        return f"with the models' defaults {json.dumps(meant)}\nwith the API server's {json.dumps(written)}"
    return None


def _stored_numbers(value: Any) -> Any:
    """With integers of more than 64 bits, which may stand in what passes through, as the floats that Go reads."""
    if isinstance(value, dict):
        return {key: _stored_numbers(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_stored_numbers(item) for item in value]
    return float(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def without_empty(value: Any) -> Any:
    """Without empty lists and maps: an absent list and an empty one mean the same in every field of the spec."""
    if isinstance(value, dict):
        kept = {key: without_empty(below) for key, below in value.items()}
        return {key: below for key, below in kept.items() if below not in ({}, [])}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


def smallest(document: Json, differs: Callable[[Json], bool]) -> Json:
    """The smallest document found from this one of which `differs` still holds."""
    asked = 0
    while True:
        for smaller in _smaller(document):
            asked += 1
            if asked > PROBES:
                return document
            if differs(smaller):
                document = smaller
                break
        else:
            return document


def _smaller(document: Json) -> Iterator[Json]:
    """Each with one piece less: pieces near the root first."""
    paths = sorted(_paths(document), key=len)
    for path in paths:
        smaller = copy.deepcopy(document)
        part = smaller
        for key in path[:-1]:
            part = part[key]
        del part[path[-1]]
        yield smaller
    for path in paths:
        smaller = copy.deepcopy(document)
        part = smaller
        for key in path[:-1]:
            part = part[key]
        if isinstance(text := part[path[-1]], str) and len(text) > 8:
            part[path[-1]] = text[: len(text) // 2]
            yield smaller


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in pairs:
        yield (*path, key)
        yield from _paths(below, (*path, key))
