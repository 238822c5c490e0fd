"""The spec whose order is longest, drawn from the schema's bounds: what every spec must be as short as, or shorter."""

import json
import re
from typing import Any

from finetune_sdk.api.run import FinetuneRunSpec

Json = dict[str, Any]
LONG = ("\x01", "\U0001f525", "\u00e9", '"', "~", "Z", "z", "9")
"""What one character of a text may cost in JSON, dearest first: 6 bytes escaped, 4 in UTF-8, ..., 1."""
HEADS = ("", "s3://b", "a", "A", "/", "image_retrieval_recall@99999")
"""Beginnings that patterns ask for."""
EXCLUDED = {
    "Model": ("name", "weights"),
    "Data": ("source",),
    "Training": ("steps",),
    "TowerFreeze": ("all",),
    "Checkpoints": ("everySteps",),
    "Storage": ("workloadIdentity",),
    "EnvVar": ("valueFrom",),
}
"""Of fields that exclude each other, those that are shorter than the others."""
NUMBER = 0.1234567890123456
SMALL_NUMBER = 1.234567890123456e-300
"""As long as numbers get: 18 characters, and 22 where they may be as small."""


def maximal_spec() -> Json:
    """A valid spec of which no part could be longer, so that no spec has a longer order."""
    document = FinetuneRunSpec.model_json_schema(by_alias=True)
    return _Maximal(document["$defs"]).part("FinetuneRunSpec", document)  # type: ignore[no-any-return]


class _Maximal:
    def __init__(self, definitions: Json) -> None:
        self._definitions = definitions

    def part(self, name: str, node: Json) -> Any:
        if "properties" not in node:
            return {}
        below = {key: schema for key, schema in node["properties"].items() if key not in EXCLUDED.get(name, ())}
        return {key: self.value(schema, key) for key, schema in below.items()}

    def value(self, node: Json, key: str) -> Any:
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            return self.part(name, self._definitions[name])
        choices = [choice for choice in node.get("anyOf", []) if choice != {"type": "null"}]
        if choices:
            return max((self.value(choice, key) for choice in choices), key=_size)
        if "enum" in node or "const" in node:
            return max(node.get("enum", [node.get("const")]), key=_size)
        match node.get("type"):
            case "array":
                return self._list(node, key)
            case "object":
                return self._map(node, key)
            case "string":
                return longest(node["maxLength"], node.get("pattern", ""))
            case "integer":
                return max((node["minimum"], node.get("maximum", 2**63 - 1)), key=_size)
            case "number":
                return NUMBER if node.get("minimum", 0) > 0 else SMALL_NUMBER
        return False

    def _list(self, node: Json, key: str) -> list[Any]:
        if key == "recallAt":
            return [99_999 - index for index in range(node["maxItems"])]
        if key == "exports":
            return list(node["items"]["enum"])
        return [self.value(node["items"], key)] * int(node["maxItems"])

    def _map(self, node: Json, key: str) -> Json:
        length = node["propertyNames"]["maxLength"] if "propertyNames" in node else 1
        plain = ("", node.get("additionalProperties", True))
        pattern, values = next(iter(node.get("patternProperties", {}).items()), plain)
        value = {} if values is True else self.value(values, key)
        whole = longest(length, pattern)
        return {whole[:-1] + chr(ord(whole[-1]) + index): value for index in range(node["maxProperties"])}


def longest(length: int, pattern: str) -> str:
    """The text of at most `length` characters that matches and takes most bytes of JSON."""
    padded = [head + one * (length - len(head)) for head in HEADS for one in LONG if len(head) <= length]
    matching = [text for text in (*padded, *HEADS) if re.search(pattern.replace("$", r"\Z"), text)]
    return max(matching, key=_size)


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
