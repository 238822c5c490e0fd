"""The CustomResourceDefinition of FinetuneRun as one document."""

import io
from typing import Any

from ruamel.yaml import YAML

from finetune_sdk.api.patterns import IN_WORDS, NAME_PATTERN
from finetune_sdk.api.run import GROUP, KIND, PLURAL, SHORT_NAME, VERSION, FinetuneRun, FinetuneRunSpec
from finetune_sdk.api.status import FinetuneRunStatus
from finetune_sdk.crd.schema import VALIDATIONS, structural

Json = dict[str, Any]
NAME = f"{PLURAL}.{GROUP}"
MUTABLE = frozenset({"suspend", "lifecycle"})
"""Fields of the spec that may change while a run exists."""
_QUEUE = r".metadata.labels.kueue\.x-k8s\.io/queue-name"
_STATUS, _METADATA = ".status.", ".metadata."
COLUMNS: tuple[tuple[str, str, str, int], ...] = (
    ("State", "string", ".status.state", 0),
    ("Reason", "string", ".status.reason", 0),
    ("Progress", "string", ".status.progress.summary", 0),
    ("Before", "number", ".status.evaluation.before", 0),
    ("After", "number", ".status.evaluation.after", 0),
    ("Gain", "number", ".status.evaluation.gain", 0),
    ("Queue", "string", _QUEUE, 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Model", "string", ".spec.model.name", 1),
    ("Job", "string", ".status.jobName", 1),
    ("ETA", "number", ".status.progress.etaSeconds", 1),
    ("Attempts", "integer", ".status.attempts", 1),
)
"""Name, type, JSON path, and priority: 1 is shown by `-o wide` only."""


def crd() -> Json:
    """The document, as `kubectl apply` takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
                    "selectableFields": [{"jsonPath": ".status.state"}, {"jsonPath": ".status.reason"}],
                    "schema": {"openAPIV3Schema": _root()},
                }
            ],
        },
    }


def crd_text() -> str:
    """The document as YAML, as it is committed in crds/."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 120
    out = io.StringIO()
    out.write("# Generated from sdk/finetune_sdk/api by `make schema`.\n")
    yaml.dump(crd(), out)
    return out.getvalue()


def _column(name: str, kind: str, path: str, priority: int) -> Json:
    column: Json = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "priority": priority} if priority else column


def _root() -> Json:
    spec = structural(FinetuneRunSpec, users=True)
    spec[VALIDATIONS] = [*spec.get(VALIDATIONS, []), *_transitions()]
    status = structural(FinetuneRunStatus, users=False)
    status["default"] = FinetuneRunStatus().model_dump(mode="json", by_alias=True, exclude_none=True)
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {
        "type": "object",
        "description": " ".join((FinetuneRun.__doc__ or "").split()),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": spec,
            "status": status,
        },
        VALIDATIONS: [
            {
                "rule": f"self.metadata.name.size() <= 50 && self.metadata.name.matches('{NAME_PATTERN}')",
                "message": f"{IN_WORDS[NAME_PATTERN]}, at most 50: the Job is called NAME-trainer",
                "fieldPath": ".metadata.name",
            }
        ],
    }


def _transitions() -> list[Json]:
    """ONE rule holds every immutable field: per-field rules are passed by by removing a field and adding it again."""
    names = [field.alias or name for name, field in FinetuneRunSpec.model_fields.items()]
    kept = {
        name: f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
        for name in names
        if name not in MUTABLE
    }
    # Strings and no list: of a list CEL does not know how long it can get, and refuses the cost.
    changed = " + ".join(f"({same} ? '' : ' spec.{name}')" for name, same in kept.items())
    advice = (
        "only spec.suspend and spec.lifecycle may change while the run exists: for another spec delete the run and"
        " apply it again, or give it another name"
    )
    return [
        {
            "rule": " && ".join(kept.values()),
            "messageExpression": f"'changed:' + {changed} + '; {advice}'",
            "message": advice,
            "reason": "FieldValueForbidden",
        },
        {
            "rule": "self.lifecycle.restart >= oldSelf.lifecycle.restart",
            "message": "may only grow: each raise starts a failed run once more",
            "fieldPath": ".lifecycle.restart",
        },
    ]
