"""`finetune schema`: the JSON Schema of a run's file, for completion and checks while writing."""

import json
from typing import Any

import click

from finetune_sdk.api.patterns import URI_PATTERN
from finetune_sdk.api.run import FinetuneRun

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OF_THE_USER = ("name", "namespace", "labels", "annotations")
"""Of Kubernetes' metadata; the rest is set by the API server, and nobody completes it."""


@click.command()
def command() -> None:
    """Print the JSON Schema (draft 2020-12) of a run's file.

    In an editor with yaml-language-server, begin the file with: # yaml-language-server: $schema=finetunerun.schema.json
    """
    click.echo(schema_text(), nl=False)


def schema_text() -> str:
    """The schema as it is committed in crds/finetunerun.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def json_schema() -> dict[str, Any]:
    """The schema of a file: without status and null, and with relative paths where the API wants URIs.

    It says less than `finetune validate`, which knows the rules across fields and names the nearest key.
    """
    schema: dict[str, Any] = _for_files(FinetuneRun.model_json_schema())
    del schema["properties"]["status"]
    metadata = schema["$defs"]["Metadata"]["properties"]
    schema["$defs"]["Metadata"]["properties"] = {name: metadata[name] for name in _OF_THE_USER}
    used = _references(schema, schema["$defs"])
    schema["$defs"] = {name: part for name, part in schema["$defs"].items() if name in used}
    return {"$schema": DIALECT, "title": "FinetuneRun", **schema}


def _for_files(node: Any) -> Any:
    """`node` as a file's author needs it, all the way down."""
    if isinstance(node, list):
        return [_for_files(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _for_files(value) for key, value in node.items() if not _is_noise(key, value)}
    if kept.get("pattern") == URI_PATTERN:
        del kept["pattern"]
        kept["format"] = "uri-reference"
    if isinstance(text := kept.get("description"), str):
        kept["description"] = " ".join(text.split())
    choices = [choice for choice in kept.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        return {**choices[0], **kept}
    return {**kept, "anyOf": choices} if choices else kept


def _is_noise(key: str, value: Any) -> bool:
    """Generated titles, null as default, which means absent, and the defaults of groups, which their fields tell."""
    return (key == "title" and isinstance(value, str)) or (key == "default" and isinstance(value, dict | None))


def _references(node: Any, parts: dict[str, Any]) -> set[str]:
    """Names of the definitions that can be reached from `node`, definitions themselves left out."""
    found: set[str] = set()
    waiting = [value for key, value in node.items() if key != "$defs"]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(parts[name])
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found
