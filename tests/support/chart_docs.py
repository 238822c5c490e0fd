"""The chart's README.md and values.schema.json, from the comments and defaults of its values.yaml.

A comment that begins with `# --` describes the value below it; a plain comment above a key describes a section.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_sdk.strict_yaml import read_yaml
from tests.support.chart_types import VALUES

CHART = Path(__file__).resolve().parents[2] / "charts/finetune-operator"
Json = dict[str, Any]
KEY = re.compile(r"( *)([A-Za-z]\w*):")
GLOBAL: Json = {"type": "object", "description": "Helm's own, for charts that hold this one."}
HEAD = """# finetune-operator

The operator that carries out [FinetuneRuns](../../docs/reference/run-yaml.md), their CRD, and the rights it needs.
Kubernetes 1.32 or newer. [docs/guides/cluster.md](../../docs/guides/cluster.md) leads from here to a finished run,
[docs/reference/rbac.md](../../docs/reference/rbac.md) lists every right with its reason, and
[docs/guides/security.md](../../docs/guides/security.md) tells whom to trust with what.

```console
$ helm install finetune-operator charts/finetune-operator -n finetune-system --create-namespace \\
    --set image.repository=REGISTRY/finetune-operator --set trainer.image.repository=REGISTRY/finetune-trainer
```

## Values

Generated from the comments in [values.yaml](values.yaml); `make schema` writes table and values.schema.json again.
A key that is not in the table is refused, at every level.

| key | type | default | |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Entry:
    """A key of values.yaml: the path to it, what its comment says, and whether it is a value or a section of them."""

    path: str
    text: str
    is_value: bool


def readme_text() -> str:
    """charts/finetune-operator/README.md."""
    entries, values = _read()
    rows = [
        f"| `{one.path}` | {VALUES[one.path].words} | `{_shown(_at(values, one.path))}` | {one.text} |"
        for one in entries
        if one.is_value
    ]
    return HEAD + "\n".join(rows) + "\n"


def schema_text() -> str:
    """charts/finetune-operator/values.schema.json."""
    entries, values = _read()
    schema: Json = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "finetune-operator",
        **_section("", "Values of the chart.", entries, values),
    }
    schema["properties"] = {"global": GLOBAL, **schema["properties"]}
    return json.dumps(schema, indent=2) + "\n"


def entries_of(text: str) -> list[Entry]:
    """The keys of a values.yaml in order; what lies below a value is part of it. ValueError names a key that no comment
    describes.
    """
    found: list[Entry] = []
    parents: list[tuple[int, Entry]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.lstrip()[1:].strip())
            continue
        if key := KEY.match(line):
            parents = [one for one in parents if one[0] < len(key[1])]
            if not (parents and parents[-1][1].is_value):
                entry = _entry(".".join([*(one.path for _, one in parents[-1:]), key[2]]), comment)
                found.append(entry)
                parents.append((len(key[1]), entry))
        comment = []
    return found


def _entry(path: str, comment: list[str]) -> Entry:
    text = " ".join(comment)
    if not text.removeprefix("--").strip():
        raise ValueError(f"values.yaml: no comment above {path}: write `# -- what it is for`")
    return Entry(path, text.removeprefix("--").strip(), is_value=text.startswith("--"))


def _read() -> tuple[list[Entry], Json]:
    path = CHART / "values.yaml"
    entries = entries_of(path.read_text(encoding="utf-8"))
    documented = {one.path for one in entries if one.is_value}
    if odd := documented ^ VALUES.keys():
        raise ValueError(f"values.yaml and VALUES of tests/support/chart_types.py differ in {', '.join(sorted(odd))}")
    return entries, read_yaml(path.read_bytes()).plain()


def _section(path: str, text: str, entries: list[Entry], values: Json) -> Json:
    """The schema of the values below `path`; Helm's null, which takes a default away, is for empty ones only."""
    properties: Json = {}
    required: list[str] = []
    for one in _below(path, entries):
        name, default = one.path.rpartition(".")[2], _at(values, one.path)
        if not one.is_value:
            properties[name] = _section(one.path, one.text, entries, values)
            continue
        properties[name] = {"description": one.text, **VALUES[one.path].schema, "default": default}
        if default not in ("", [], {}):
            required.append(name)
    return {
        "description": text,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required,
    }


def _below(path: str, entries: list[Entry]) -> Iterator[Entry]:
    return (one for one in entries if one.path.rpartition(".")[0] == path)


def _at(values: Json, path: str) -> Any:
    found: Any = values
    for name in path.split("."):
        found = found[name]
    return found


def _shown(default: Any) -> str:
    return json.dumps(default)
