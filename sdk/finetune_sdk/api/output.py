"""spec.output, spec.checkpoints and spec.storage: what a run leaves, how often it saves, and who may write there."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_sdk.api.types import MAX_INT32, UNIQUE, WHOLE, ObjectName, SpecModel, Uri

ExportFormat = Literal["open_clip", "huggingface", "onnx"]


def _default_exports() -> list[ExportFormat]:
    return ["open_clip"]


class Checkpoints(SpecModel):
    """How often the state of training is saved: by time or by steps."""

    every_minutes: Annotated[float, Field(ge=0.01, le=10_080)] | None = None
    """Minutes between checkpoints. Absent, as everySteps: 10."""
    every_steps: Annotated[int, Field(ge=1, le=MAX_INT32), WHOLE] | None = None
    """Steps between checkpoints."""
    keep: Annotated[int, Field(ge=1, le=100), WHOLE] = 2
    """How many of the newest are kept beside the best."""


class Output(SpecModel):
    """Where a run leaves everything."""

    uri: Uri
    """The folder; a run owns it."""
    exports: Annotated[list[ExportFormat], Field(min_length=1, max_length=3), UNIQUE] = Field(
        default_factory=_default_exports
    )
    """The forms of the model, each reloaded and compared before the run succeeds."""


class SecretRef(SpecModel):
    """A Secret of the run's namespace, with keys endpoint, accessKey, secretKey, region, ca.crt."""

    name: ObjectName
    """Its name."""


class Storage(SpecModel):
    """How a pod gets at storage. Without a cluster: from the environment, or --credentials."""

    secret_ref: SecretRef | None = None
    """The Secret with the keys. Absent, without workloadIdentity: finetune-storage."""
    workload_identity: bool | None = None
    """Use the identity of compute.serviceAccountName in place of keys."""
