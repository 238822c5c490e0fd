"""A row for each rule of the CRD that the API server evaluates: what it lets pass, what it refuses, in which words.

Rules across fields are written out here; those that every text, quantity or map brings along are made from their
places. `rules()` is what the CRD says, so that a rule without a row is found.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from finetune_sdk.api.patterns import IN_WORDS
from finetune_sdk.crd.schema import VALIDATIONS
from tests.support.hostile import NEAR
from tests.support.spec_places import base_with, crd_places, dotted, model_places, replaced, root, value_at
from tests.support.specs import a_run

Json = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One rule."""

    place: str
    """Of the part on which the rule stands, as messages have it; empty for the whole run."""
    message: str
    accepted: Json
    refused: Json

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def rules() -> Iterator[tuple[str, Json]]:
    """Place and rule of each that needs no old object."""
    nodes = {"": root()} | {dotted(place): node for place, node in crd_places().items()}
    for place, node in nodes.items():
        for rule in node.get(VALIDATIONS, []):
            if "oldSelf" not in rule["rule"]:
                yield place, rule


def rows() -> list[Row]:
    """All of them."""
    return [*_across_fields(), *_texts(), *_keys()]


SOURCE = {"uri": "s3://b/data"}
TOWERS = {"image": {"timm": "a"}, "text": {"huggingface": "b/c"}}
FIELD = {"fieldRef": {"fieldPath": "metadata.name"}}
ACROSS: tuple[tuple[str, str, Json, Json], ...] = (
    (
        "spec.model.weights",
        "give exactly one of tag, uri and random",
        {"model__weights": {"tag": "openai"}},
        {"model__weights": {"tag": "openai", "random": {}}},
    ),
    (
        "spec.model",
        "towers stands in place of name and weights: remove either towers, or name and weights",
        {"model": {"towers": TOWERS}},
        {"model__towers": TOWERS},
    ),
    (
        "spec.model",
        "give weights ({tag: openai}, {uri: ...} or {random: {}}) beside name, or towers in place of both",
        {"model": {"weights": {"uri": "s3://b/base"}}},
        {"model": {"name": "ViT-B-32"}},
    ),
    (
        "spec.model",
        "give name, an open_clip architecture such as ViT-B-32-quickgelu; it may be left out only with weights.uri",
        {"model": {"name": "ViT-B-32", "weights": {"tag": "openai"}}},
        {"model": {"weights": {"tag": "openai"}}},
    ),
    (
        "spec.data",
        "give either source, which is split by image hash, or train and test; not both",
        {"data": {"train": SOURCE, "validation": SOURCE, "test": SOURCE}},
        {"data": {"source": SOURCE, "validation": SOURCE}},
    ),
    (
        "spec.data",
        "give both train and test, or source in place of them",
        {"data": {"train": SOURCE, "test": SOURCE}},
        {"data": {"train": SOURCE}},
    ),
    (
        "spec.training",
        "give at most one of epochs and steps",
        {"training": {"epochs": 1}},
        {"training": {"epochs": 1, "steps": 1}},
    ),
    *(
        (
            f"spec.training.freeze.{tower}",
            "give exactly one of blocks and all",
            {"training__freeze": {tower: {"blocks": 0}}},
            {"training__freeze": {tower: {"blocks": 0, "all": False}}},
        )
        for tower in ("image", "text")
    ),
    (
        "spec.evaluation",
        "metric must be one that is measured: its k must stand in recallAt (1, 5 and 10 where that is absent)",
        {"evaluation": {"metric": "image_retrieval_recall@7", "recallAt": [7]}},
        {"evaluation": {"metric": "image_retrieval_recall@7"}},
    ),
    (
        "spec.evaluation.recallAt",
        "write whole numbers without a decimal point: 5, not 5.0",
        {"evaluation": {"recallAt": [1, 5]}},
        {"evaluation": {"recallAt": [1, 5.0]}},
    ),
    *(
        (
            f"spec.training.freeze.{tower}.blocks",
            "write whole numbers without a decimal point: 5, not 5.0",
            {"training__freeze": {tower: {"blocks": 5}}},
            {"training__freeze": {tower: {"blocks": 5.0}}},
        )
        for tower in ("image", "text")
    ),
    (
        "spec.lifecycle.restart",
        "write whole numbers without a decimal point: 5, not 5.0",
        {"lifecycle__restart": 5},
        {"lifecycle__restart": 5.0},
    ),
    (
        "spec.checkpoints.everyMinutes",
        "must be at least 0.01",
        {"checkpoints": {"everyMinutes": 0.01}},
        {"checkpoints": {"everyMinutes": 0}},
    ),
    (
        "spec.checkpoints",
        "give at most one of everyMinutes and everySteps",
        {"checkpoints": {"everySteps": 1}},
        {"checkpoints": {"everyMinutes": 1, "everySteps": 1}},
    ),
    (
        "spec.storage",
        "give at most one of secretRef and workloadIdentity: true",
        {"storage": {"secretRef": {"name": "a"}, "workloadIdentity": False}},
        {"storage": {"secretRef": {"name": "a"}, "workloadIdentity": True}, "compute__serviceAccountName": "a"},
    ),
    (
        "spec",
        "storage.workloadIdentity needs compute.serviceAccountName, the account that storage knows",
        {"storage": {"workloadIdentity": True}, "compute__serviceAccountName": "a"},
        {"storage": {"workloadIdentity": True}},
    ),
    (
        "spec.compute.env[0]",
        "give at most one of value and valueFrom",
        {"compute__env": [{"name": "A", "valueFrom": FIELD}]},
        {"compute__env": [{"name": "A", "value": "", "valueFrom": FIELD}]},
    ),
    (
        "spec.compute.env[0].valueFrom",
        "give exactly one of secretKeyRef, configMapKeyRef and fieldRef",
        {"compute__env": [{"name": "A", "valueFrom": FIELD}]},
        {"compute__env": [{"name": "A", "valueFrom": {}}]},
    ),
)
"""Place, message, and changes to the smallest run that the rule lets pass and refuses."""


def _across_fields() -> Iterator[Row]:
    name = "must be lower-case letters, digits and dashes, beginning with a letter and not ending with a dash"
    long = a_run()
    long["metadata"] = {"name": "a" * 51}
    yield Row("", f"{name}, at most 50: the Job is called NAME-trainer", a_run(), long)
    for place, message, accepted, refused in ACROSS:
        yield Row(place, message, a_run(**accepted), a_run(**refused))


def _texts() -> Iterator[Row]:
    """For each text with a pattern, and each number that may be a text."""
    for place, node in model_places().items():
        base = base_with(place)
        for choice in (node, *node.get("anyOf", [])):
            if pattern := choice.get("pattern"):
                bad = next(text for text in NEAR[pattern] if not re.search(pattern.replace("$", r"\Z"), text))
                yield Row(dotted(place), IN_WORDS[pattern], base, replaced(base, place, bad))
        if word := next((choice["const"] for choice in node.get("anyOf", []) if "const" in choice), None):
            yield Row(dotted(place), f"must be a whole number or {word}", base, replaced(base, place, "10"))


def _keys() -> Iterator[Row]:
    for place, node in model_places().items():
        base = base_with(place)
        if names := node.get("propertyNames"):
            low, high = names["minLength"], names["maxLength"]
            value = next(iter(value_at(base["spec"], place).values()))
            longer = replaced(base, place, {"a" * (high + 1): value})
            yield Row(dotted(place), f"keys must have {low} to {high} characters", base, longer)
        for pattern in node.get("patternProperties", {}):
            broken = replaced(base, place, {"a\nb": "c"})
            yield Row(dotted(place), f"keys {IN_WORDS[pattern]}", base, broken)
