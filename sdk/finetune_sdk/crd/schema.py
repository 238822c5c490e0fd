"""Pydantic's JSON Schema as a structural OpenAPI v3 schema, as apiextensions.k8s.io/v1 wants it.

What differs: references are written out, a field that may be absent has no null, exclusive bounds are flags, unions of
number and text are `x-kubernetes-int-or-string`; patterns, what keys may be and rules across fields are CEL, so that
what breaks them is told in words.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from finetune_sdk.api.patterns import IN_WORDS
from finetune_sdk.api.rules import RULES, Rule
from finetune_sdk.api.types import UNIQUE, WHOLE
from finetune_sdk.spec_paths import is_marked, model_of

Json = dict[str, Any]
_KEPT = (
    "type", "format", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties",
)  # fmt: skip
INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
VALIDATIONS = "x-kubernetes-validations"
NO_POINT = "write whole numbers without a decimal point: 5, not 5.0"
"""Of integers that rules read: OpenAPI takes 5.0 for one, CEL fails on it, and a set holds it beside 5."""


def structural(model: type[BaseModel], *, users: bool) -> Json:
    """The schema of `model`; `users`: whether people write it, so that the API server fills in defaults."""
    document = model.model_json_schema(by_alias=True)
    return _Converter(document.get("$defs", {}), users).part(model, document)


def schema_default(field: FieldInfo) -> Any:
    """What the API server fills in for an absent field; None where it stays absent.

    A part that has defaults of its own is filled in as {}, and its fields by theirs.
    """
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return {}
    return value if value not in ([], {}) else None


class _Converter:
    def __init__(self, definitions: Json, users: bool) -> None:
        self._definitions = definitions
        self._users = users

    def part(self, model: type[BaseModel], schema: Json) -> Json:
        """An object whose fields are those of `model`."""
        properties = {}
        for name, field in model.model_fields.items():
            key = field.alias or name
            properties[key] = self._field(field, schema["properties"][key])
        part: Json = {"type": "object", "description": _words(schema.get("description", ""))}
        if properties:
            part["properties"] = properties
        if required := schema.get("required"):
            part["required"] = list(required)
        if model.model_config.get("extra") == "allow":
            part[PRESERVE] = True
        if rules := [rule for rule in RULES if rule.on == model.__name__]:
            part[VALIDATIONS] = [_rule(rule) for rule in rules]
        return part

    def _field(self, field: FieldInfo, schema: Json) -> Json:
        converted = self._value(schema, model_of(field.annotation))
        if text := field.description:
            converted["description"] = _words(text)
        if is_marked(field, UNIQUE):
            converted["x-kubernetes-list-type"] = "set"
        if self._users and not is_marked(field, WHOLE):
            if converted.get("type") == "integer":
                converted[VALIDATIONS] = [{"rule": "self >= 0", "message": NO_POINT}]
            if converted.get("items", {}).get("type") == "integer":
                converted[VALIDATIONS] = [{"rule": "self.all(k, k >= 0)", "message": NO_POINT}]
        default = None if field.is_required() else schema_default(field)
        if self._users and default is not None:
            converted["default"] = default
        return converted

    def _value(self, schema: Json, model: type[BaseModel] | None) -> Json:
        schema = self._without_null(schema)
        if "$ref" in schema:
            if model is None:
                raise TypeError(f"no model for {schema['$ref']}")
            return self.part(model, self._definitions[schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return _int_or_string(schema["anyOf"])
        converted: Json = {key: schema[key] for key in _KEPT if key in schema}
        if "const" in schema:
            converted["enum"] = [schema["const"]]
        if "pattern" in schema:
            converted[VALIDATIONS] = [_matches(schema["pattern"])]
        for bound, sign, words in (("minimum", ">=", "at least"), ("maximum", "<=", "at most")):
            if (value := converted.get(bound)) is not None and value != int(value):
                # The API server compares a whole number with the bound's whole part: 0 would pass a minimum of 0.01.
                converted.setdefault(VALIDATIONS, []).append(
                    {"rule": f"self {sign} {value}", "message": f"must be {words} {value}"}
                )
        for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if flag in schema:
                converted[bound], converted[flag] = schema[flag], True
        if schema.get("type") == "array":
            converted["items"] = self._value(schema["items"], model)
        if schema.get("type") == "object":
            self._add_map(converted, schema)
        return converted

    def _add_map(self, converted: Json, schema: Json) -> None:
        patterns = schema.get("patternProperties", {})
        values = next(iter(patterns.values()), schema.get("additionalProperties"))
        if values is True:
            converted["additionalProperties"] = {PRESERVE: True}
        elif isinstance(values, dict):
            converted["additionalProperties"] = self._value(values, None)
        rules = [_keys_match(pattern) for pattern in patterns]
        if keys := schema.get("propertyNames"):
            low, high = keys.get("minLength", 0), keys["maxLength"]
            rule = f"self.all(key, size(key) >= {low} && size(key) <= {high})"
            rules.append({"rule": rule, "message": f"keys must have {low} to {high} characters"})
        if rules:
            converted[VALIDATIONS] = rules

    @staticmethod
    def _without_null(schema: Json) -> Json:
        choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
        return choices[0] if len(choices) == 1 else {**schema, "anyOf": choices} if choices else schema


def _int_or_string(choices: list[Json]) -> Json:
    """A number or a text: bounds hold for the one, the rule for the other. A number with a point is neither for CEL."""
    whole = next(choice for choice in choices if choice.get("type") == "integer")
    text = next(choice for choice in choices if choice is not whole)
    kept: Json = {key: whole[key] for key in ("minimum", "maximum") if key in whole}
    if "const" in text:
        wanted, message = f"self == '{text['const']}'", f"must be a whole number or {text['const']}"
    else:
        kept["maxLength"] = text["maxLength"]
        wanted, message = _matches(text["pattern"]).values()
    return {INT_OR_STRING: True, **kept, VALIDATIONS: [{"rule": f"type(self) == int || {wanted}", "message": message}]}


def _rule(rule: Rule) -> Json:
    blamed = {"fieldPath": f".{rule.blames}"} if rule.blames else {}
    return {"rule": rule.cel, "message": rule.message, **blamed}


def _matches(pattern: str) -> Json:
    """The text matches, in CEL."""
    return {"rule": f"self.matches(r'{pattern}')", "message": IN_WORDS[pattern]}


def _keys_match(pattern: str) -> Json:
    return {"rule": f"self.all(key, key.matches(r'{pattern}'))", "message": f"keys {IN_WORDS[pattern]}"}


def _words(text: str) -> str:
    return " ".join(text.split())
