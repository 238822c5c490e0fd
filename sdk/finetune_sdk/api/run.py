"""FinetuneRun, group finetune.dev, version v1alpha1: the resource as a whole."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from finetune_sdk.api.base import NULL_IS_EMPTY, NullIsAbsent
from finetune_sdk.api.compute import Compute
from finetune_sdk.api.data import Data
from finetune_sdk.api.evaluation import Evaluation
from finetune_sdk.api.lifecycle import Lifecycle
from finetune_sdk.api.model import Model
from finetune_sdk.api.output import Checkpoints, Output, Storage
from finetune_sdk.api.patterns import (
    ANNOTATION_KEY_PATTERN,
    LABEL_KEY_PATTERN,
    LABEL_VALUE_PATTERN,
    NAME_PATTERN,
    NAMESPACE_PATTERN,
)
from finetune_sdk.api.status import FinetuneRunStatus
from finetune_sdk.api.training import Training
from finetune_sdk.api.types import SpecModel

GROUP = "finetune.dev"
VERSION = "v1alpha1"
KIND = "FinetuneRun"
PLURAL = "finetuneruns"
SHORT_NAME = "ftr"


def _prefix_fits(key: str) -> str:
    if len(key.rpartition("/")[0]) > 253:
        raise PydanticCustomError("long_prefix", "must have at most 253 characters before the /")
    return key


LabelKey = Annotated[str, Field(pattern=LABEL_KEY_PATTERN), AfterValidator(_prefix_fits)]
AnnotationKey = Annotated[str, Field(pattern=ANNOTATION_KEY_PATTERN), AfterValidator(_prefix_fits)]
LabelValue = Annotated[str, Field(pattern=LABEL_VALUE_PATTERN)]


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


class Metadata(NullIsAbsent):
    """Kubernetes' ObjectMeta, as far as a run or a file may carry it."""

    name: Annotated[str, Field(min_length=1, max_length=50, pattern=NAME_PATTERN)]
    """The run's name: lower-case letters, digits and dashes, at most 50; the Job is NAME-trainer."""
    namespace: Annotated[str, Field(max_length=63, pattern=NAMESPACE_PATTERN)] | None = None
    """Where it lives."""
    labels: Annotated[dict[LabelKey, LabelValue], NULL_IS_EMPTY] = Field(default_factory=dict)
    """Queue and priority labels are copied to the Job."""
    annotations: Annotated[dict[AnnotationKey, str], NULL_IS_EMPTY] = Field(default_factory=dict)
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


class FinetuneRun(NullIsAbsent):
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
