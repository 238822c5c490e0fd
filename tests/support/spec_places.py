"""Every place of the schema, and documents in which each is set: so that tests can reach all of it by construction."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.crd import crd
from tests.support.specs import a_run, sample

Json = dict[str, Any]
Path = tuple[str | int, ...]
ANY_KEY = "*"
"""In a path: the first key of a map."""
_SOURCES = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "fc", "hostPath", "image", "iscsi", "nfs",
    "persistentVolumeClaim", "projected", "secret",
)  # fmt: skip


@cache
def root() -> Json:
    """The CRD's schema of a whole run."""
    schema: Json = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


@cache
def crd_places() -> dict[Path, Json]:
    """The CRD's schema of each place of the spec, by its path below spec."""
    return dict(_crd_places(root()["properties"]["spec"], ()))


@cache
def model_places() -> dict[Path, Json]:
    """The models' JSON schema of each such place."""
    document = FinetuneRunSpec.model_json_schema(by_alias=True)
    return dict(_model_places(document, (), document["$defs"]))


def dotted(path: Path) -> str:
    """As messages have it: spec.compute.env[0].name."""
    return "spec" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


@cache
def bases() -> tuple[Json, ...]:
    """Valid documents which together set every place."""
    first = sample("full_tag.yaml")
    del first["metadata"]["namespace"]
    source = first["spec"]["data"]["train"]
    by_uri = a_run(
        model={"weights": {"uri": "s3://models/base"}},
        data__source=copy.deepcopy(source),
        training__freeze={"image": {"all": False}, "text": {"blocks": 1}},
        compute__volumes=[{"name": "all", **{name: {"key": "value"} for name in _SOURCES}}],
        compute__env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b", "optional": True}}}],
    )
    tables = copy.deepcopy(first)
    # Copies: what is one object stays one in a copy, and would change in two places.
    tables["spec"]["data"] |= {"validation": copy.deepcopy(source), "test": copy.deepcopy(source)}
    of_a_map = {"name": "a.b", "key": "c", "optional": False}
    tables["spec"]["compute"]["env"] = [{"name": "B", "valueFrom": {"configMapKeyRef": of_a_map}}]
    small = a_run(compute__env=[{"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}])
    return first, tables, sample("full_towers.yaml"), by_uri, small, a_run()


def base_with(path: Path) -> Json:
    """A copy of the first of them in which `path` is set."""
    return copy.deepcopy(next(base for base in bases() if holds(base["spec"], path)))


def holds(spec: Any, path: Path) -> bool:
    """Whether something lies at `path`."""
    try:
        value_at(spec, path)
    except (LookupError, TypeError, StopIteration):
        return False
    return True


def value_at(spec: Any, path: Path) -> Any:
    """What lies at `path`; KeyError, IndexError or TypeError where nothing does."""
    for key in path:
        spec = spec[_key(spec, key)]
    return spec


def replaced(document: Json, path: Path, value: Any) -> Json:
    """A copy of `document` with `value` at `path` of its spec; the empty path is the spec itself."""
    changed = copy.deepcopy(document)
    if not path:
        return {**changed, "spec": value}
    part = value_at(changed["spec"], path[:-1])
    part[_key(part, path[-1])] = copy.deepcopy(value)
    return changed


def removed(document: Json, path: Path) -> Json:
    """A copy of `document` without what lies at `path` of its spec."""
    changed = copy.deepcopy(document)
    part = value_at(changed["spec"], path[:-1]) if path else changed
    del part[_key(part, path[-1]) if path else "spec"]
    return changed


def _key(part: Any, key: str | int) -> Any:
    return next(iter(part)) if key == ANY_KEY else key


def _crd_places(node: Json, path: Path) -> Iterator[tuple[Path, Json]]:
    yield path, node
    for name, below in node.get("properties", {}).items():
        yield from _crd_places(below, (*path, name))
    if "items" in node:
        yield from _crd_places(node["items"], (*path, 0))
    if isinstance(node.get("additionalProperties"), dict):
        yield from _crd_places(node["additionalProperties"], (*path, ANY_KEY))


def _model_places(node: Json, path: Path, parts: Json) -> Iterator[tuple[Path, Json]]:
    choices = [choice for choice in node.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        node = choices[0]
    if "$ref" in node:
        node = parts[node["$ref"].rpartition("/")[2]]
    yield path, node
    for name, below in node.get("properties", {}).items():
        yield from _model_places(below, (*path, name), parts)
    if "items" in node:
        yield from _model_places(node["items"], (*path, 0), parts)
    values = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
    if values:
        yield from _model_places(values if isinstance(values, dict) else {}, (*path, ANY_KEY), parts)
