"""spec.compute: the pods. A run on one machine reads gpusPerNode as a wish and leaves the rest to the cluster."""

from typing import Annotated, Any, Literal

from pydantic import Field

from finetune_sdk.api.base import NO_NULLS
from finetune_sdk.api.output import SecretRef
from finetune_sdk.api.patterns import ABSOLUTE_PATTERN, IMAGE_PATTERN, RESOURCE_NAME_PATTERN, VARIABLE_PATTERN
from finetune_sdk.api.types import MAX_INT32, WHOLE, Label, ObjectName, Quantity, Seconds, SpecModel

Text = Annotated[str, Field(max_length=256)]
LongText = Annotated[str, Field(max_length=1024)]
ShortText = Annotated[str, Field(min_length=1, max_length=253)]
TextMap = Annotated[dict[ShortText, Text], Field(max_length=16), NO_NULLS]
Quantities = Annotated[dict[ShortText, Quantity], Field(max_length=16), NO_NULLS]
FreeObject = Annotated[dict[str, Any], Field(max_length=16), NO_NULLS]
"""Passed to the pod as it is; the API server checks it there.

A map whose values are of unknown type, and no object with unknown keys: CEL compares those only where both sides have
the key, so that {emptyDir: {}} could become {hostPath: ...} past the rule that holds immutable fields (measured).
"""


class Resources(SpecModel):
    """What the trainer's container asks for, besides GPUs."""

    requests: Quantities = Field(default_factory=dict)
    """By resource: cpu, memory, ephemeral-storage. Memory and ephemeral-storage are limits as well."""
    limits: Quantities = Field(default_factory=dict)
    """By resource."""


class Toleration(SpecModel):
    """As in a pod."""

    key: Text | None = None
    """The taint's key."""
    operator: Literal["Exists", "Equal", "Lt", "Gt"] | None = None
    """How value is compared. Absent: Equal."""
    value: Text | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect. Absent: all."""
    toleration_seconds: Annotated[int, Field(ge=0, le=MAX_INT32), WHOLE] | None = None
    """How long a NoExecute taint is tolerated. Absent: for ever."""


class KeyRef(SpecModel):
    """A key of a Secret or a ConfigMap."""

    name: ObjectName
    """The object's name."""
    key: ShortText
    """The key in it."""
    optional: bool | None = None
    """Whether the pod may start without it."""


class FieldRef(SpecModel):
    """A field of the pod."""

    field_path: ShortText
    """Such as metadata.name."""


class EnvSource(SpecModel):
    """Where a variable's value comes from: exactly one."""

    secret_key_ref: KeyRef | None = None
    """A Secret: the place for anything private."""
    config_map_key_ref: KeyRef | None = None
    """A ConfigMap."""
    field_ref: FieldRef | None = None
    """The pod itself."""


class EnvVar(SpecModel):
    """A variable of the trainer's environment; reports show names only."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=VARIABLE_PATTERN)]
    """Its name."""
    value: LongText | None = None
    """Its value, in the open; private ones belong in valueFrom.secretKeyRef."""
    value_from: EnvSource | None = None
    """Where its value comes from."""


class Volume(SpecModel):
    """A pod's volume: a name, and its source as in a pod."""

    name: Label
    """Its name, for volumeMounts."""
    config_map: FreeObject | None = None
    """A ConfigMap as files."""
    csi: FreeObject | None = None
    """A volume of a CSI driver that lives as long as the pod."""
    downward_api: FreeObject | None = Field(None, alias="downwardAPI")
    """Fields of the pod as files."""
    empty_dir: FreeObject | None = None
    """Scratch space that ends with the pod."""
    ephemeral: FreeObject | None = None
    """A claim that is made for the pod and ends with it."""
    fc: FreeObject | None = None
    """A Fibre Channel device."""
    host_path: FreeObject | None = None
    """A folder of the node; the restricted standard forbids it."""
    image: FreeObject | None = None
    """An image as files."""
    iscsi: FreeObject | None = None
    """An iSCSI device."""
    nfs: FreeObject | None = None
    """A folder of an NFS server."""
    persistent_volume_claim: FreeObject | None = None
    """A claim of the namespace."""
    projected: FreeObject | None = None
    """Several of these in one folder."""
    secret: FreeObject | None = None
    """A Secret as files."""


class VolumeMount(SpecModel):
    """Where a volume appears in the trainer's container."""

    name: Label
    """The volume's name."""
    mount_path: Annotated[str, Field(max_length=512, pattern=ABSOLUTE_PATTERN)]
    """The folder, from /."""
    sub_path: Annotated[str, Field(max_length=512)] | None = None
    """The part of the volume."""
    read_only: bool | None = None
    """Whether it may only be read."""


class Compute(SpecModel):
    """Where the trainer runs."""

    nodes: Annotated[int, Field(ge=1, le=64), WHOLE] = 1
    """Pods that train together."""
    gpus_per_node: Annotated[int, Field(ge=0, le=16), WHOLE] = 1
    """GPUs in each; 0 trains on the CPU."""
    gpu_resource_name: Annotated[str, Field(max_length=253, pattern=RESOURCE_NAME_PATTERN)] = "nvidia.com/gpu"
    """The name that the device plugin gives them."""
    resources: Resources = Resources()
    """Processors, memory and scratch disk."""
    image: Annotated[str, Field(min_length=1, max_length=512, pattern=IMAGE_PATTERN)] | None = None
    """The trainer image. Absent: the operator's."""
    image_pull_secrets: Annotated[list[SecretRef], Field(max_length=8)] = Field(default_factory=list)
    """Secrets to pull it with."""
    node_selector: TextMap = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = Field(default_factory=list)
    """Taints that are tolerated."""
    affinity: FreeObject | None = None
    """As in a pod."""
    priority_class_name: ObjectName | None = None
    """The pod's priority class."""
    runtime_class_name: ObjectName | None = None
    """The pod's runtime class."""
    service_account_name: ObjectName | None = None
    """The pod's service account; its token is not mounted."""
    pod_labels: TextMap = Field(default_factory=dict)
    """More labels for the pod."""
    pod_annotations: Annotated[dict[ShortText, LongText], Field(max_length=16), NO_NULLS] = Field(default_factory=dict)
    """More annotations for the pod."""
    env: Annotated[list[EnvVar], Field(max_length=32)] = Field(default_factory=list)
    """More variables for the trainer."""
    volumes: Annotated[list[Volume], Field(max_length=8)] = Field(default_factory=list)
    """More volumes for the pod."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=16)] = Field(default_factory=list)
    """Where they appear."""
    security_context: FreeObject | None = None
    """The container's, over the restricted one that it has anyway."""
    shared_memory: Quantity | None = None
    """The size of /dev/shm. Absent: chosen by the operator."""
    termination_grace_period_seconds: Seconds = 120
    """Time for the last step and its checkpoint when a pod is stopped."""
