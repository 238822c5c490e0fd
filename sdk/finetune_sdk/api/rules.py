"""The cross-field rules, each once. A rule stands on one part of the spec, reads it alone and says what would work.

`on` is the part that CEL calls `self`, `fields` what the rule reads below it, `keeps` the predicate, `cel` the same for
the API server: both accept the same specs. Parts are named, not imported, since each part checks its own rules when it
is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from finetune_sdk.api.defaults import DEFAULT_RECALL_AT
from finetune_sdk.api.patterns import METRIC_PATTERN


@dataclass(frozen=True)
class Rule:
    """One condition across the fields of a part."""

    on: str
    """The class name of the part."""
    fields: tuple[str, ...]
    """What the rule reads, as dotted camelCase paths below the part."""
    keeps: Callable[[Any], bool]
    cel: str
    message: str
    """What would work, for the person who broke it."""
    blames: str = ""
    """The field that the API server names, as a dotted path below the part; empty for the part itself."""


def _given(part: Any, *fields: str) -> int:
    return sum(getattr(part, field) is not None for field in fields)


def _count(*fields: str) -> str:
    """CEL: how many of the fields are given."""
    return " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)


def _name_is_known(model: Any) -> bool:
    return model.weights is None or model.weights.uri is not None or model.name is not None


def _metric_is_measured(evaluation: Any) -> bool:
    measured = evaluation.recall_at or DEFAULT_RECALL_AT
    return evaluation.metric is None or int(evaluation.metric.partition("@")[2]) in measured


def _identity_has_an_account(spec: Any) -> bool:
    return not spec.storage.workload_identity or spec.compute.service_account_name is not None


RULES: tuple[Rule, ...] = (
    Rule(
        "Weights",
        ("tag", "uri", "random"),
        lambda weights: _given(weights, "tag", "uri", "random") == 1,
        _count("tag", "uri", "random") + " == 1",
        "give exactly one of tag, uri and random",
    ),
    Rule(
        "Model",
        ("name", "weights", "towers"),
        lambda model: model.towers is None or _given(model, "name", "weights") == 0,
        "!has(self.towers) || (!has(self.name) && !has(self.weights))",
        "towers stands in place of name and weights: remove either towers, or name and weights",
    ),
    Rule(
        "Model",
        ("weights", "towers"),
        lambda model: _given(model, "weights", "towers") > 0,
        "has(self.weights) || has(self.towers)",
        "give weights ({tag: openai}, {uri: ...} or {random: {}}) beside name, or towers in place of both",
    ),
    Rule(
        "Model",
        ("name", "weights.uri"),
        _name_is_known,
        "!has(self.weights) || has(self.weights.uri) || has(self.name)",
        "give name, an open_clip architecture such as ViT-B-32-quickgelu; it may be left out only with weights.uri",
        blames="name",
    ),
    Rule(
        "Data",
        ("source", "train", "validation", "test"),
        lambda data: data.source is None or _given(data, "train", "validation", "test") == 0,
        "!has(self.source) || (!has(self.train) && !has(self.validation) && !has(self.test))",
        "give either source, which is split by image hash, or train and test; not both",
    ),
    Rule(
        "Data",
        ("source", "train", "validation", "test"),
        lambda data: data.source is not None or _given(data, "train", "test") == 2,
        "has(self.source) || (has(self.train) && has(self.test))",
        "give both train and test, or source in place of them",
    ),
    Rule(
        "Training",
        ("epochs", "steps"),
        lambda training: _given(training, "epochs", "steps") <= 1,
        "!has(self.epochs) || !has(self.steps)",
        "give at most one of epochs and steps",
    ),
    Rule(
        "TowerFreeze",
        ("blocks", "all"),
        lambda freeze: _given(freeze, "blocks", "all") == 1,
        _count("blocks", "all") + " == 1",
        "give exactly one of blocks and all",
    ),
    Rule(
        "Evaluation",
        ("metric", "recallAt"),
        _metric_is_measured,
        f"!has(self.metric) || !self.metric.matches(r'{METRIC_PATTERN}')"  # which is told by itself
        " || int(self.metric.split('@')[1]) in (has(self.recallAt) ? self.recallAt : [1, 5, 10])",
        "metric must be one that is measured: its k must stand in recallAt (1, 5 and 10 where that is absent)",
        blames="metric",
    ),
    Rule(
        "Checkpoints",
        ("everyMinutes", "everySteps"),
        lambda checkpoints: _given(checkpoints, "every_minutes", "every_steps") <= 1,
        "!has(self.everyMinutes) || !has(self.everySteps)",
        "give at most one of everyMinutes and everySteps",
    ),
    Rule(
        "Storage",
        ("secretRef", "workloadIdentity"),
        lambda storage: storage.secret_ref is None or not storage.workload_identity,
        "!has(self.secretRef) || !has(self.workloadIdentity) || !self.workloadIdentity",
        "give at most one of secretRef and workloadIdentity: true",
    ),
    Rule(
        "FinetuneRunSpec",
        ("storage.workloadIdentity", "compute.serviceAccountName"),
        _identity_has_an_account,
        "!has(self.storage.workloadIdentity) || !self.storage.workloadIdentity || has(self.compute.serviceAccountName)",
        "storage.workloadIdentity needs compute.serviceAccountName, the account that storage knows",
        blames="compute.serviceAccountName",
    ),
    Rule(
        "EnvVar",
        ("value", "valueFrom"),
        lambda variable: _given(variable, "value", "value_from") <= 1,
        "!has(self.value) || !has(self.valueFrom)",
        "give at most one of value and valueFrom",
    ),
    Rule(
        "EnvSource",
        ("secretKeyRef", "configMapKeyRef", "fieldRef"),
        lambda source: _given(source, "secret_key_ref", "config_map_key_ref", "field_ref") == 1,
        _count("secretKeyRef", "configMapKeyRef", "fieldRef") + " == 1",
        "give exactly one of secretKeyRef, configMapKeyRef and fieldRef",
    ),
)


def broken_rules(part: BaseModel) -> list[Rule]:
    """The rules that stand on `part` and that it breaks, in the table's order."""
    return [rule for rule in _rules_on(type(part).__name__) if not rule.keeps(part)]


@cache
def _rules_on(part: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if rule.on == part)
