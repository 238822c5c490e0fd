"""The chart's generated files and its version: what needs no helm."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from finetune_sdk.strict_yaml import read_yaml
from tests.support.chart_docs import CHART, entries_of, readme_text, schema_text
from tests.support.chart_types import VALUES, kubernetes_schema

ROOT = CHART.parents[1]
SCHEMA: dict[str, Any] = json.loads(schema_text())
VALUES_YAML = """# -- How many.
replicas: 1

# An image.
image:
  # -- Its digest; goes before
  # the tag.
  digest: ""
# -- Its own.
resources:
  limits: {memory: 1Gi}
"""


def test_chart_and_project_are_of_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = read_yaml((CHART / "Chart.yaml").read_bytes()).plain()
    assert (chart["version"], chart["appVersion"]) == (project, project)


def test_comments_describe_values_and_sections() -> None:
    entries = [(one.path, one.text, one.is_value) for one in entries_of(VALUES_YAML)]
    assert entries == [
        ("replicas", "How many.", True),
        ("image", "An image.", False),
        ("image.digest", "Its digest; goes before the tag.", True),
        ("resources", "Its own.", True),
    ]


def test_a_value_without_a_comment_is_named() -> None:
    with pytest.raises(ValueError, match=r"no comment above image\.tag"):
        entries_of("# An image.\nimage:\n  tag: x\n")


def test_each_value_has_a_row_in_the_readme() -> None:
    text = readme_text()
    assert [path for path in VALUES if f"| `{path}` |" not in text] == []


def maps(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if schema.get("type") == "object":
        yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from maps(below, f"{path}.{name}")
    if "items" in schema:
        yield from maps(schema["items"], f"{path}[]")


def test_every_map_lets_in_known_keys_or_known_values_only() -> None:
    """`global` is Helm's own: a chart that holds this one may put anything there."""
    open_ones = [path for path, schema in maps(SCHEMA) if schema.get("additionalProperties", True) is True]
    assert open_ones == [".global"]


def test_descriptions_are_the_comments() -> None:
    replicas = SCHEMA["properties"]["replicas"]
    assert replicas["description"] in (CHART / "values.yaml").read_text().replace("\n# ", " ")
    assert replicas["default"] == 1


def test_parts_of_a_pod_have_kubernetes_own_shape() -> None:
    toleration = kubernetes_schema("V1Toleration")
    assert toleration["properties"].keys() == {"effect", "key", "operator", "tolerationSeconds", "value"}
    assert toleration["additionalProperties"] is False
