"""The CustomResourceDefinition of FinetuneRun as one document."""

import io
from typing import Any

from ruamel.yaml import YAML

from finetune_sdk.api.run import GROUP, KIND, PLURAL, SHORT_NAME, VERSION, FinetuneRun, FinetuneRunSpec
from finetune_sdk.api.status import FinetuneRunStatus
from finetune_sdk.api.types import NAME_PATTERN
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
    spec = structural(FinetuneRunSpec, defaults=True)
    spec[VALIDATIONS] = [*spec.get(VALIDATIONS, []), *_transitions()]
    status = structural(FinetuneRunStatus, defaults=False)
    status["default"] = FinetuneRunStatus().model_dump(mode="json", by_alias=True, exclude_none=True)
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {
        "type": "object",
        "description": " ".join((FinetuneRun.__doc__ or "").split()),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        VALIDATIONS: [
            {
                "rule": f"self.metadata.name.size() <= 50 && self.metadata.name.matches('{NAME_PATTERN}')",
                "message": "metadata.name must be at most 50 lower-case letters, digits and dashes, beginning with a "
                "letter and not ending with a dash",
            }
        ],
    }


def _transitions() -> list[Json]:
    """ONE rule holds every immutable field: per-field rules are passed by by removing a field and adding it again."""
    fixed = [field.alias or name for name, field in FinetuneRunSpec.model_fields.items()]
    kept = " && ".join(
        f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
        for name in fixed
        if name not in MUTABLE
    )
    return [
        {
            "rule": kept,
            "message": "only spec.suspend and spec.lifecycle may change: for another spec delete the run and apply it "
            "again, or give it another name",
        },
        {
            "rule": "self.lifecycle.restart >= oldSelf.lifecycle.restart",
            "message": "spec.lifecycle.restart may only grow: each raise starts a failed run once more",
        },
    ]
