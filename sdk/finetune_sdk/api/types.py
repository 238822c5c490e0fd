"""The scalar types of the API and the base of its spec; a structural schema can say each with the same accept set.

What the API server decides, these decide too: no number from text, no text from a number, 5.0 is an integer, true not.
Every text, list and map is bounded, so that a whole spec stays below 64 KiB.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from finetune_sdk.api.base import NullIsAbsent
from finetune_sdk.api.patterns import (
    HUB_NAME_PATTERN,
    NAME_PATTERN,
    OBJECT_NAME_PATTERN,
    ONE_LINE_PATTERN,
    PUBLISHED_NAME_PATTERN,
    QUANTITY_PATTERN,
    URI_PATTERN,
)
from finetune_sdk.api.rules import broken_rules

QUANTITY_LENGTH = 32
MAX_INT32 = 2_147_483_647
MAX_INT64 = 9_223_372_036_854_775_807


RULES_LATER: dict[str, str] = {}
"""As validation context: fields only. A reader of files asks for the rules afterwards, so as to tell all mistakes."""


class SpecModel(NullIsAbsent):
    """A part of the spec: strict types, no infinite numbers, and the cross-field rules of `rules.py`."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _keeps_its_rules(self, info: ValidationInfo) -> Self:
        if info.context is RULES_LATER:
            return self
        if broken := broken_rules(self):
            raise PydanticCustomError(
                "rules", "{text}", {"text": "; ".join(rule.message for rule in broken), "rules": broken}
            )
        return self


class UriMark:
    """Marks a field that holds a URI: `runfile` resolves relative paths there."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


def _unique(values: list[Any]) -> list[Any]:
    if twice := sorted({str(value) for value in values if values.count(value) > 1}):
        raise PydanticCustomError("not_unique", "{twice} stands in it twice", {"twice": ", ".join(twice)})
    return values


def _number_or_auto(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value == "auto" or (is_number and 1 <= value <= MAX_INT32):
        return value
    raise PydanticCustomError("int_or_auto", "a whole number from 1 on, or auto")


def _quantity_type(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, int) and value > MAX_INT64):
        raise PydanticCustomError("quantity", "a Kubernetes quantity such as 16Gi or 500m; a fraction in quotes: '1.5'")
    return str(value)


WHOLE = BeforeValidator(_whole)
"""Last of an integer's annotations, so that bounds before it reach the schema: 5.0 is 5, as for the API server."""
UNIQUE = AfterValidator(_unique)
"""Last of a list's annotations: no value twice (`x-kubernetes-list-type: set`)."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Uri = Annotated[str, Field(min_length=1, max_length=1024, pattern=URI_PATTERN), UriMark()]
Label = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME_PATTERN)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN)]
PublishedName = Annotated[str, Field(min_length=1, max_length=128, pattern=PUBLISHED_NAME_PATTERN)]
HubName = Annotated[str, Field(min_length=1, max_length=128, pattern=HUB_NAME_PATTERN)]
Cell = Annotated[str, Field(max_length=128, pattern=ONE_LINE_PATTERN)]
ColumnName = Annotated[str, Field(min_length=1, max_length=128, pattern=ONE_LINE_PATTERN)]
Seconds = Annotated[int, Field(ge=1, le=MAX_INT32), WHOLE]
IntOrAuto = Annotated[
    int | Literal["auto"],
    PlainValidator(_number_or_auto),
    PlainSerializer(lambda value: value),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_INT32}, {"const": "auto"}]}),
]
Quantity = Annotated[
    str,
    Field(max_length=QUANTITY_LENGTH, pattern=QUANTITY_PATTERN),
    BeforeValidator(_quantity_type),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "maxLength": QUANTITY_LENGTH, "pattern": QUANTITY_PATTERN},
            ]
        }
    ),
]
