"""docs/reference/run-yaml.md from the models: each field with its type, default, bounds and text."""

import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from finetune_sdk.api.run import FinetuneRun

HEAD = """# Every field of run.yaml

Generated from the models in `sdk/finetune_sdk/api`; `make schema` writes it again. The text of a
field without a default says what its absence means. `finetune validate` names what this version does not support yet.
"""


def reference_text() -> str:
    """The whole page."""
    places: dict[type[BaseModel], list[str]] = {}
    for path, model in _models("spec", FinetuneRun.model_fields["spec"].annotation):
        places.setdefault(model, []).append(path)
    return "\n".join([HEAD, *(_section(paths, model) for model, paths in places.items())])


def _models(path: str, annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each model below an annotation with the path at which it stands, outermost first."""
    for part in _unwrapped(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield path, part
            for name, field in part.model_fields.items():
                yield from _models(f"{path}.{field.alias or to_camel(name)}", field.annotation)


def _unwrapped(annotation: Any) -> list[Any]:
    """The types that an annotation is made of, without None, Annotated and list."""
    origin = get_origin(annotation)
    if origin in (typing.Union, types.UnionType, list):
        return [inner for argument in get_args(annotation) for inner in _unwrapped(argument)]
    if origin is typing.Annotated:
        return _unwrapped(get_args(annotation)[0])
    return [] if annotation is type(None) else [annotation]


def _section(paths: list[str], model: type[BaseModel]) -> str:
    also = f" The same at {', '.join(f'`{path}`' for path in paths[1:])}." if paths[1:] else ""
    rows = [f"## {paths[0]}", "", _one_line(model.__doc__ or "") + also, ""]
    if model.model_fields:
        rows += ["| field | type | default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        alias = field.alias or to_camel(name)
        text = _one_line(field.description or "")
        rows.append(f"| `{alias}` | {_type(field)} | {_default(field)} | {text} |")
    return "\n".join([*rows, ""])


def _type(field: FieldInfo) -> str:
    words = dict.fromkeys(_words(part) for part in _unwrapped(field.annotation))
    listed = "list of " if _is_list(field.annotation) else ""
    return listed + " or ".join(words) + _bounds(field)


def _words(part: Any) -> str:
    if get_origin(part) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(part))
    if isinstance(part, type) and issubclass(part, BaseModel):
        return "object"
    names = {str: "string", int: "integer", float: "number", bool: "true or false"}
    return names.get(part, "map")


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(argument) for argument in get_args(annotation))


def _bounds(field: FieldInfo) -> str:
    found = re.findall(r"(Ge|Gt|Le|Lt)\(\w+=([-\d.]+)\)", f"{field.annotation!r} {field.metadata!r}")
    signs = {"Ge": "≥", "Gt": ">", "Le": "≤", "Lt": "<"}
    return "".join(f", {signs[kind]} {value}" for kind, value in dict.fromkeys(found)) if len(set(found)) <= 2 else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, BaseModel) or value in ({}, []):
        return ""
    shown = "true" if value is True else "false" if value is False else value
    return f"`{shown}`"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
