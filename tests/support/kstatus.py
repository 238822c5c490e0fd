"""kstatus: what tools that apply files (Flux, kpt, Argo CD's health, kubectl wait's kin) make of an object.

A port of `Compute` of https://github.com/kubernetes-sigs/cli-utils, pkg/kstatus/status/{status,generic}.go, for kinds
that kstatus has no rules of its own for: checkGenericProperties, then checkReadyCondition, else Current.
"""

from typing import Any, Literal

Json = dict[str, Any]
Verdict = Literal["InProgress", "Failed", "Current", "Terminating"]


def compute(document: Json) -> tuple[Verdict, str]:
    """The verdict on an object as the API server has it, and its message."""
    if document["metadata"].get("deletionTimestamp"):
        return "Terminating", "Resource scheduled for deletion"
    if (lagging := _generation(document)) is not None:
        return lagging
    conditions = document.get("status", {}).get("conditions") or []
    for condition in conditions:
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            return "InProgress", condition.get("message", "")
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return "Failed", condition.get("message", "")
    return _ready(conditions)


def _generation(document: Json) -> tuple[Verdict, str] | None:
    """Objects without the field are not judged by it."""
    generation = document["metadata"].get("generation")
    observed = document.get("status", {}).get("observedGeneration")
    if generation is None or observed is None or observed == generation:
        return None
    kind = document["kind"]
    return "InProgress", f"{kind} generation is {generation}, but latest observed generation is {observed}"


def _ready(conditions: list[Json]) -> tuple[Verdict, str]:
    for condition in conditions:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return "Current", "Resource is Ready"
        if condition["type"] == "Ready" and condition["status"] in ("False", "Unknown"):
            return "InProgress", condition.get("message", "")
    return "Current", "Resource is current"
