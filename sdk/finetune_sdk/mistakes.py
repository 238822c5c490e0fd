"""pydantic's errors in a user's words: what is wrong at a key, and what would work."""

import difflib
import json
from typing import Any

from pydantic_core import ErrorDetails

from finetune_sdk.api.patterns import IN_WORDS, URI_PATTERN
from finetune_sdk.spec_paths import Path, dotted, field_at, fields_of, model_at, paths_of_key, printable

_PATTERNS = {**IN_WORDS, URI_PATTERN: "must be a path, or a URI such as s3://bucket/folder"}
_YAML_11 = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_SHOWN = 60
"""Characters of a value that a message repeats."""


def shown(value: Any) -> str:
    """A value as it may stand in a message: short, as JSON has it, in one line and without a terminal's commands."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except ValueError:
        text = str(value)
    return printable(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")


def in_words(error: ErrorDetails, path: Path) -> str:
    """What is wrong at `path`, what was met, and what would work; one line."""
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return f"is missing{_purpose(path)}"
    if kind == "extra_forbidden":
        return unknown_key(path)
    message = _about_value(kind, value, error.get("ctx", {}), path) or error["msg"]
    private = path[:3] == ("spec", "compute", "env")  # values there may be secrets
    return message if private or "found" in message else f"{message}; found {shown(value)}"


def unknown_key(path: Path) -> str:
    """What to do about a key that is not known at its level: the nearest known one, or where it belongs."""
    key = str(path[-1])
    if (near := nearest_key(path)) is not None:
        return f"unknown key; did you mean {near}?"
    if elsewhere := paths_of_key(key):
        return f"unknown key here; it belongs at {' or '.join(elsewhere[:3])}"
    model = model_at(path[:-1])
    known = [name for name, _ in fields_of(model).items()] if model else []
    if not known:
        return "unknown key; nothing stands below it: write {}"
    place = dotted(path[:-1]) or "a run"
    return f"unknown key; {place} knows {', '.join(known[:20])}"


def nearest_key(path: Path) -> str | None:
    """The known key at this level that a misspelt one most likely means."""
    model = model_at(path[:-1])
    plain = {name.lower(): name for name in fields_of(model)} if model else {}
    near = difflib.get_close_matches(str(path[-1]).lower().replace("_", ""), list(plain), n=1, cutoff=0.7)
    return plain[near[0]] if near else None


def _purpose(path: Path) -> str:
    field = field_at(path)
    if field is None or not field.description:
        return ""
    sentence = field.description.split(". ")[0].rstrip(".")
    return f" ({sentence[0].lower()}{sentence[1:]})"


def _about_value(kind: str, value: Any, context: dict[str, Any], path: Path) -> str | None:
    if kind == "bool_type":
        hint = _YAML_11.get(str(value).lower())
        return (
            f"must be true or false; found {shown(value)}, which YAML 1.2 reads as text: write {hint}"
            if hint
            else ("must be true or false")
        )
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        model = model_at(path)
        keys = f" with keys such as {', '.join(list(fields_of(model))[:4])}" if model and fields_of(model) else ""
        return f"must be a mapping{keys}"
    if kind == "literal_error":
        return _one_of(value, context["expected"])
    if kind == "string_pattern_mismatch":
        if value == "":
            return 'is empty; found ""'
        return _PATTERNS.get(context["pattern"], f"must match {context['pattern']}")
    return _TYPES.get(kind) or _bound(kind, context)


_TYPES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text: put it in quotes",
    "list_type": "must be a list, such as [1, 2]",
}


def _bound(kind: str, context: dict[str, Any]) -> str | None:
    """A bound that a number, a text, a list or a map does not keep."""
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "greater_than":
            return f"must be more than {context['gt']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:.12g}"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "too_long":
            return f"must have at most {context['max_length']} entries"
        case "string_too_short":
            return "must not be empty"
        case "too_short":
            return "must have at least one entry"
    return None


def _one_of(value: Any, expected: str) -> str:
    choices = [choice.strip("' ") for choice in expected.replace(" or ", ", ").split(", ")]
    if len(choices) == 1:
        return f"must be {choices[0]}"
    near = difflib.get_close_matches(str(value).lower(), [choice.lower() for choice in choices], n=1, cutoff=0.6)
    meant = next((choice for choice in choices if near and choice.lower() == near[0]), None)
    return f"must be one of {', '.join(choices)}; found {shown(value)}" + (f", did you mean {meant}?" if meant else "")
