"""Kubernetes' selectors, for clusters in memory: key=value, key==value, key!=value, key, !key, key in (a, b), notin."""

import re
from collections.abc import Mapping

_SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^()]*)\)$")
_COMMA = re.compile(r",(?![^(]*\))")


def matches(selector: str, values: Mapping[str, str]) -> bool:
    """Whether all requirements hold."""
    return all(_holds(part.strip(), values) for part in _COMMA.split(selector) if part.strip())


def _holds(part: str, values: Mapping[str, str]) -> bool:
    if found := _SET.match(part):
        key, kind, listed = found.groups()
        return (values.get(key) in {one.strip() for one in listed.split(",")}) == (kind == "in")
    if "!=" in part:
        key, _, value = part.partition("!=")
        return values.get(key.strip()) != value.strip()
    if "=" in part:
        key, _, value = part.partition("=")
        return values.get(key.strip()) == value.lstrip("=").strip()
    return part[1:].strip() not in values if part.startswith("!") else part in values
