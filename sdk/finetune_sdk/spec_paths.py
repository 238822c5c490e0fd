"""The tree of the API's fields by their names in a file: which keys are known where, and which hold URIs."""

import functools
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.api.types import UriMark

Path = tuple[str | int, ...]


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields by their names in a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def model_at(path: Path) -> type[BaseModel] | None:
    """The model of the mapping at `path` in a run; None where no mapping with known keys lies."""
    annotation: Any = FinetuneRun
    for key in path:
        if isinstance(key, int):
            annotation = _item(annotation)
        else:
            model = _model(annotation)
            field = fields_of(model).get(key) if model else None
            annotation = field.annotation if field else None
    return _model(annotation)


def field_at(path: Path) -> FieldInfo | None:
    """The field at `path` in a run, if there is one."""
    model = model_at(path[:-1]) if path else None
    return fields_of(model).get(str(path[-1])) if model else None


@functools.cache
def paths_of_key(key: str) -> tuple[str, ...]:
    """Where in a run a key of this name stands: 'spec.training.batchSize', ..."""
    return tuple(path for path in _all_paths(FinetuneRun, "") if path.rpartition(".")[2] == key)


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The model of a field, or of the items of a field that is a list."""
    return _model(annotation) or _model(_item(annotation))


def is_marked(field: FieldInfo, mark: object) -> bool:
    """Whether `mark` stands in the field's annotations, also where None may stand for the value."""
    inner = (one for part in get_args(field.annotation) for one in get_args(part))
    return any(one is mark for one in (*field.metadata, *inner))


def uri_places(document: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every mapping and key of `document` that holds a URI; parts of another shape are passed over."""
    yield from _uri_places(FinetuneRun, document)


def dotted(path: Path) -> str:
    """`("spec", "output", "exports", 0)` as spec.output.exports[0]."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{printable(key)}" for key in path)
    return text.removeprefix(".")


def printable(text: str) -> str:
    """`text` with what would break a line or move a cursor escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _uri_places(model: type[BaseModel], value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if not isinstance(value, dict):
        return
    for key, field in fields_of(model).items():
        if key not in value:
            continue
        if _is_uri(field):
            yield value, key
        elif below := _model(field.annotation):
            yield from _uri_places(below, value[key])


def _is_uri(field: FieldInfo) -> bool:
    inner = (mark for part in get_args(field.annotation) for mark in get_args(part))
    return any(isinstance(mark, UriMark) for mark in (*field.metadata, *inner))


def _all_paths(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for key, field in fields_of(model).items():
        if key == "status" and not prefix:
            continue
        yield prefix + key
        if below := _model(field.annotation):
            yield from _all_paths(below, f"{prefix}{key}.")


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model`, `Model | None` or `Annotated[Model, ...]`; of lists none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next((model for part in get_args(annotation) if (model := _model(part))), None)
    return None


def _item(annotation: Any) -> Any:
    """X of `list[X]`, also where None may stand for the list."""
    if get_origin(annotation) is list:
        return get_args(annotation)[0]
    return next((item for part in get_args(annotation) if (item := _item(part))), None)
