"""FinetuneRun, group finetune.dev, version v1alpha1: the resource as a whole."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from finetune_sdk.api.base import Schema
from finetune_sdk.api.compute import PASSED_THROUGH, Compute
from finetune_sdk.api.data import Data
from finetune_sdk.api.evaluation import Evaluation
from finetune_sdk.api.lifecycle import Lifecycle
from finetune_sdk.api.model import Model
from finetune_sdk.api.output import Checkpoints, Output, Storage
from finetune_sdk.api.status import FinetuneRunStatus
from finetune_sdk.api.training import Training
from finetune_sdk.api.types import NAME_PATTERN, SpecModel

GROUP = "finetune.dev"
VERSION = "v1alpha1"
KIND = "FinetuneRun"
PLURAL = "finetuneruns"
SHORT_NAME = "ftr"


class FinetuneRunSpec(SpecModel):
    """What is wanted. Only suspend and lifecycle may change while the run exists."""

    task: Literal["image-text"] = "image-text"
    """What is learned: pictures and their captions near each other."""
    model: Model
    """What is fine-tuned."""
    data: Data
    """Pictures and captions."""
    training: Training = Training()
    """How the model learns; all of it may be left out."""
    evaluation: Evaluation = Evaluation()
    """The number, and what it must be."""
    checkpoints: Checkpoints = Checkpoints()
    """How often the state of training is saved."""
    output: Output
    """Where everything is left."""
    storage: Storage = Storage()
    """How a pod gets at storage."""
    compute: Compute = Compute()
    """The pods."""
    suspend: bool = False
    """Stop after saving, and go on once it is false again."""
    lifecycle: Lifecycle = Lifecycle()
    """Retries and deadlines."""


class Metadata(Schema):
    """Kubernetes' ObjectMeta, as far as a run or a file may carry it."""

    name: Annotated[str, Field(min_length=1, max_length=50, pattern=NAME_PATTERN)]
    """The run's name: lower-case letters, digits and dashes, at most 50; the Job is NAME-trainer."""
    namespace: str | None = None
    """Where it lives."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Queue and priority labels are copied to the Job."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Notes for people and tools."""
    uid: str | None = None
    """Set by the API server, as all below."""
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    self_link: str | None = None
    generate_name: str | None = None
    finalizers: list[str] = Field(default_factory=list)
    owner_references: list[dict[str, Any]] = Field(default_factory=list)
    managed_fields: list[dict[str, Any]] = Field(default_factory=list)


class FinetuneRun(Schema):
    """One fine-tuning run: model, data and hyperparameters in, a measured model out."""

    api_version: Literal["finetune.dev/v1alpha1"]
    """finetune.dev/v1alpha1."""
    kind: Literal["FinetuneRun"]
    """FinetuneRun."""
    metadata: Metadata
    """Name, namespace, labels."""
    spec: FinetuneRunSpec
    """What is wanted."""
    status: FinetuneRunStatus = FinetuneRunStatus()
    """What is. Written by the operator alone."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, document: Any) -> Any:
        """As the API server reads it: a key with null in the spec is no key at all, so that its default holds."""
        if isinstance(document, dict) and isinstance(document.get("spec"), dict):
            return {**document, "spec": without_nulls(document["spec"])}
        return document


def without_nulls(spec: dict[str, Any]) -> dict[str, Any]:
    """`spec` without keys that hold null, as the API server prunes them; a null in a list stays, and is refused.

    Of an object that passes through to the pod only the outermost level is pruned: what lies deeper is not ours.
    """
    return {key: _pruned(below, key == "compute") for key, below in spec.items() if below is not None}


def _pruned(value: Any, in_compute: bool) -> Any:
    if isinstance(value, list):
        return [_pruned(item, in_compute) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: below for key, below in value.items() if below is not None}
    free = PASSED_THROUGH if in_compute else frozenset[str]()
    return {key: _outermost(below) if key in free else _pruned(below, in_compute) for key, below in kept.items()}


def _outermost(value: Any) -> Any:
    return {key: below for key, below in value.items() if below is not None} if isinstance(value, dict) else value
