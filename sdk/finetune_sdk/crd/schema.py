"""Pydantic's JSON Schema as a structural OpenAPI v3 schema, as apiextensions.k8s.io/v1 wants it.

What differs: references are written out, a field that may be absent has no null, exclusive bounds are flags, unions of
number and text are `x-kubernetes-int-or-string`, key lengths and rules across fields are CEL.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from finetune_sdk.api.rules import RULES
from finetune_sdk.api.types import UNIQUE
from finetune_sdk.spec_paths import is_marked, model_of

Json = dict[str, Any]
_KEPT = (
    "type", "format", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "maxProperties",
)  # fmt: skip
INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
VALIDATIONS = "x-kubernetes-validations"
NO_POINT = {"rule": "self.all(k, k > 0)", "message": "write whole numbers without a decimal point: 5, not 5.0"}
"""Reads every item, and fails on 5.0: OpenAPI takes it for an integer, CEL does not, and a set holds it beside 5."""


def structural(model: type[BaseModel], *, defaults: bool) -> Json:
    """The schema of `model`; `defaults`: whether its fields' defaults are the API server's to fill in."""
    document = model.model_json_schema(by_alias=True)
    return _Converter(document.get("$defs", {}), defaults).part(model, document)


def schema_default(field: FieldInfo) -> Any:
    """What the API server fills in for an absent field; None where it stays absent.

    A part that has defaults of its own is filled in as {}, and its fields by theirs.
    """
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return {}
    return value if value not in ([], {}) else None


class _Converter:
    def __init__(self, definitions: Json, defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

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
            part[VALIDATIONS] = [{"rule": rule.cel, "message": rule.message} for rule in rules]
        return part

    def _field(self, field: FieldInfo, schema: Json) -> Json:
        converted = self._value(schema, model_of(field.annotation))
        if text := field.description:
            converted["description"] = _words(text)
        if is_marked(field, UNIQUE):
            converted["x-kubernetes-list-type"] = "set"
        if converted.get("items", {}).get("type") == "integer":
            converted[VALIDATIONS] = [NO_POINT]
        default = None if field.is_required() else schema_default(field)
        if self._defaults and default is not None:
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
        for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if flag in schema:
                converted[bound], converted[flag] = schema[flag], True
        if schema.get("type") == "array":
            converted["items"] = self._value(schema["items"], model)
        if schema.get("type") == "object":
            self._add_map(converted, schema)
        return converted

    def _add_map(self, converted: Json, schema: Json) -> None:
        values = schema.get("additionalProperties")
        if values is True:
            converted["additionalProperties"] = {PRESERVE: True}
        elif isinstance(values, dict):
            converted["additionalProperties"] = self._value(values, None)
        if keys := schema.get("propertyNames"):
            low, high = keys.get("minLength", 0), keys["maxLength"]
            rule = f"self.all(key, size(key) >= {low} && size(key) <= {high})"
            converted[VALIDATIONS] = [{"rule": rule, "message": f"keys must have {low} to {high} characters"}]

    @staticmethod
    def _without_null(schema: Json) -> Json:
        choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
        return choices[0] if len(choices) == 1 else {**schema, "anyOf": choices} if choices else schema


def _int_or_string(choices: list[Json]) -> Json:
    """A number or a text: bounds hold for the one, the pattern for the other, as the API server reads them."""
    whole = next(choice for choice in choices if choice.get("type") == "integer")
    text = next(choice for choice in choices if choice is not whole)
    bounds: Json = {key: whole[key] for key in ("minimum", "maximum") if key in whole}
    pattern = f"^{text['const']}$" if "const" in text else text["pattern"]
    longest: Json = {"maxLength": text["maxLength"]} if "maxLength" in text else {}
    return {INT_OR_STRING: True, **bounds, "pattern": pattern, **longest}


def _words(text: str) -> str:
    return " ".join(text.split())
