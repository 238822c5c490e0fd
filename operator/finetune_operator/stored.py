"""A stored run as this version reads it: strictly, and as far as it can where another version wrote it."""

import copy
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from finetune_operator.objects import Json
from finetune_sdk.api.run import FinetuneRun, FinetuneRunSpec
from finetune_sdk.api.status import FinetuneRunStatus
from finetune_sdk.mistakes import in_words
from finetune_sdk.spec_paths import dotted

Path = tuple[str | int, ...]
Spec = tuple[FinetuneRunSpec | None, tuple[str, ...]]
MOST_ERRORS = 64
"""Rounds of leaving out what is not understood."""
KEPT_SPECS = 1024
"""Each of some 7 kB: a run's passes mostly come soon after one another, and reading a spec is a third of a pass."""
KEPT_BYTES = 4096
"""Of a spec as JSON. Larger ones, up to the schema's 64 KiB, are read each time: what is kept stays small."""
_STATUS_KEYS = frozenset(field.alias or name for name, field in FinetuneRunStatus.model_fields.items())


def read_spec(document: Json) -> Spec:
    """The spec and its mistakes, a sentence each. With mistakes the spec is the part that is understood, or None."""
    read: Json = {key: document[key] for key in ("apiVersion", "kind", "spec") if key in document}
    read["metadata"] = {"name": document["metadata"]["name"]}
    packed = to_json(read)
    return _read_once(packed) if len(packed) <= KEPT_BYTES else _read(packed)


def _read(packed: bytes) -> Spec:
    read: Json = from_json(packed)
    try:
        return FinetuneRun.model_validate(read).spec, ()
    except ValidationError as error:
        return _understood(read), tuple(_sentence(one) for one in error.errors())


_read_once = lru_cache(KEPT_SPECS)(_read)


def read_status(stored: Json) -> FinetuneRunStatus:
    """The stored status; one that another version wrote is read as far as this one knows it."""
    kept = {key: value for key, value in stored.items() if key in _STATUS_KEYS}
    try:
        return FinetuneRunStatus.model_validate(kept)
    except ValidationError as error:
        broken = {one["loc"][0] for one in error.errors()}
        return FinetuneRunStatus.model_validate({key: value for key, value in kept.items() if key not in broken})


def _sentence(error: ErrorDetails) -> str:
    """What is wrong, without the content of anything that may hold a private value."""
    path: Path = error["loc"]
    whole = isinstance(error["input"], (dict, list)) and error["type"] not in ("missing", "extra_forbidden")
    return f"{dotted(path)}: {error['msg'] if whole else in_words(error, path)}"


def _understood(read: Json) -> FinetuneRunSpec | None:
    """The spec without the keys that this version does not understand; None where too little is left."""
    kept = copy.deepcopy(read)
    for _ in range(MOST_ERRORS):
        try:
            return FinetuneRun.model_validate(kept).spec
        except ValidationError as error:
            if sum(_left_out(kept, one["loc"]) for one in error.errors()) == 0:
                return None
    return None


def _left_out(document: Json, path: Path) -> bool:
    """Remove the deepest key that lies on `path`, but never the whole spec; whether there was one."""
    place: Any = document
    found: tuple[Json, str] | None = None
    for key in path:
        if isinstance(place, dict) and key in place:
            found = (place, str(key)) if key != "spec" else found
            place = place[key]
        elif isinstance(place, list) and isinstance(key, int) and key < len(place):
            place = place[key]
        else:
            break
    if found is None:
        return False
    found[0].pop(found[1])
    return True
