"""The bases of the API's models: camelCase outside, unknown keys refused, values never changed in place."""

from functools import cache
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic.alias_generators import to_camel


class Schema(BaseModel):
    """A part of the API or of a stored document. The string below a field is its reference text."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )


class NullIsAbsent(Schema):
    """A part of a user's document. As the API server reads it, a known key with null is no key: its default holds."""

    @model_validator(mode="before")
    @classmethod
    def _prune(cls, part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        known = _names_of(cls)
        return {key: value for key, value in part.items() if value is not None or key not in known}


@cache
def _names_of(model: type[BaseModel]) -> frozenset[str | None]:
    """What a field may be called, by its name or its alias."""
    return frozenset((*model.model_fields, *(field.alias for field in model.model_fields.values())))


def _without_nulls(entries: Any) -> Any:
    return {key: value for key, value in entries.items() if value is not None} if isinstance(entries, dict) else entries


NO_NULLS = BeforeValidator(_without_nulls)
"""Of a map: an entry with null is none. What lies deeper in values that pass through stays."""


def _null_is_empty(entries: Any) -> Any:
    if isinstance(entries, dict):
        return {key: "" if value is None else value for key, value in entries.items()}
    return entries


NULL_IS_EMPTY = BeforeValidator(_null_is_empty)
"""Of labels and annotations: an entry with null is an empty one, as the API server reads metadata."""
