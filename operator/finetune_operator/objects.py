"""Reading Kubernetes' JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of a Job or a pod."""

    true: bool
    reason: str
    message: str
    at: datetime | None


def moment(text: str) -> datetime:
    """A time of the API's, RFC 3339 with or without fractions, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def conditions_of(status: Json) -> Mapping[str, Condition]:
    """Conditions by type."""
    return {
        one["type"]: Condition(
            true=one.get("status") == "True",
            reason=one.get("reason", ""),
            message=one.get("message", ""),
            at=moment(one["lastTransitionTime"]) if one.get("lastTransitionTime") else None,
        )
        for one in status.get("conditions") or []
    }
