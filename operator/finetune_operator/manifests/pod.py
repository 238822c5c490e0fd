"""The pod of a run: one container, the trainer."""

from typing import Any

from kubernetes.client import (
    V1Container,
    V1ContainerPort,
    V1EmptyDirVolumeSource,
    V1EnvVar,
    V1EnvVarSource,
    V1LocalObjectReference,
    V1ObjectFieldSelector,
    V1ObjectMeta,
    V1PodSecurityContext,
    V1PodSpec,
    V1PodTemplateSpec,
    V1ResourceFieldSelector,
    V1ResourceRequirements,
    V1SeccompProfile,
    V1SecretVolumeSource,
    V1Volume,
    V1VolumeMount,
)

from finetune_operator.model import RunView
from finetune_operator.objects import Json
from finetune_operator.settings import PlanSettings
from finetune_sdk.api.compute import Compute
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.contract import (
    CACHE_BYTES_VARIABLE,
    CONTAINER,
    CREDENTIALS_FOLDER,
    DEFAULT_SECRET,
    POD_UID_VARIABLE,
    PORT,
    RUN_VARIABLE,
    SCRATCH_FOLDER,
)
from finetune_sdk.order import order_text

USER = 65_532
"""Of the trainer image; no name is needed for it."""
BOUND = ("memory", "ephemeral-storage")
"""Resources whose limit equals the request: what is promised is what may be used, so that no other pod suffers."""
SCRATCH, SHARED_MEMORY, CREDENTIALS = "finetune-scratch", "finetune-shm", "finetune-storage"
"""Names of our volumes."""
RESTRICTED: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def secret_name(spec: FinetuneRunSpec) -> str | None:
    """The Secret with the storage keys; None where the service account is the key."""
    if spec.storage.workload_identity:
        return None
    return spec.storage.secret_ref.name if spec.storage.secret_ref else DEFAULT_SECRET


def build_pod_template(
    run: RunView,
    spec: FinetuneRunSpec,
    settings: PlanSettings,
    *,
    image: str,
    attempt: int,
    labels: dict[str, str],
) -> V1PodTemplateSpec:
    """The template: what `spec.compute` says, and ours over it where both speak."""
    compute = spec.compute
    order = order_text(name=run.key.name, namespace=run.key.namespace, uid=run.uid, attempt=attempt, spec=spec)
    return V1PodTemplateSpec(
        metadata=V1ObjectMeta(
            labels={**compute.pod_labels, **labels}, annotations=dict(compute.pod_annotations) or None
        ),
        spec=V1PodSpec(
            restart_policy="Never",
            automount_service_account_token=False,
            enable_service_links=False,
            service_account_name=compute.service_account_name,
            termination_grace_period_seconds=compute.termination_grace_period_seconds,
            priority_class_name=compute.priority_class_name,
            runtime_class_name=compute.runtime_class_name,
            node_selector=dict(compute.node_selector) or None,
            tolerations=[_plain(one) for one in compute.tolerations] or None,
            affinity=compute.affinity,
            image_pull_secrets=[V1LocalObjectReference(name=one.name) for one in compute.image_pull_secrets] or None,
            security_context=V1PodSecurityContext(
                run_as_non_root=True,
                run_as_user=USER,
                run_as_group=USER,
                fs_group=USER,
                seccomp_profile=V1SeccompProfile(type="RuntimeDefault"),
            ),
            containers=[_container(spec, settings, image, order)],
            volumes=_volumes(spec, settings),
        ),
    )


def requests_of(compute: Compute, settings: PlanSettings) -> dict[str, str]:
    """What the container asks for, GPUs left out; as in Kubernetes a limit alone is a request as well."""
    return {**settings.requests, **compute.resources.limits, **compute.resources.requests}


def shared_memory_of(compute: Compute, settings: PlanSettings) -> str:
    """The size of /dev/shm."""
    return compute.shared_memory or settings.shared_memory


def _container(spec: FinetuneRunSpec, settings: PlanSettings, image: str, order: str) -> V1Container:
    compute = spec.compute
    return V1Container(
        name=CONTAINER,
        image=image,
        env=_environment(compute, order),
        ports=[V1ContainerPort(name="progress", container_port=PORT)],
        resources=_resources(compute, settings),
        security_context={**RESTRICTED, **(compute.security_context or {})},
        termination_message_policy="FallbackToLogsOnError",
        volume_mounts=_mounts(spec),
    )


def _environment(compute: Compute, order: str) -> list[V1EnvVar | Json]:
    names = {variable.name for variable in compute.env}
    places = {"HOME": SCRATCH_FOLDER, "TMPDIR": SCRATCH_FOLDER, "FINETUNE_CACHE": f"{SCRATCH_FOLDER}/cache"}
    ours = [
        V1EnvVar(name=RUN_VARIABLE, value=order.replace("$", "$$")),  # else the kubelet expands $(NAME), and $$ to $
        V1EnvVar(
            name=POD_UID_VARIABLE,
            value_from=V1EnvVarSource(field_ref=V1ObjectFieldSelector(field_path="metadata.uid")),
        ),
        *(V1EnvVar(name=name, value=value) for name, value in places.items() if name not in names),
        *([] if names & {"FINETUNE_CACHE", CACHE_BYTES_VARIABLE} else [_cache_bytes()]),
    ]
    theirs: list[V1EnvVar | Json] = [_plain(variable) for variable in compute.env]
    return [*theirs, *ours]


def _cache_bytes() -> V1EnvVar:
    """The limit of the scratch disk, in bytes: the pod is evicted beyond it, and its disk tells only the node's."""
    limit = V1ResourceFieldSelector(resource="limits.ephemeral-storage")
    return V1EnvVar(name=CACHE_BYTES_VARIABLE, value_from=V1EnvVarSource(resource_field_ref=limit))


def _resources(compute: Compute, settings: PlanSettings) -> V1ResourceRequirements:
    requests = requests_of(compute, settings)
    limits = {**compute.resources.limits, **{key: requests[key] for key in BOUND if key in requests}}
    if compute.gpus_per_node:
        limits[compute.gpu_resource_name] = str(compute.gpus_per_node)
        requests[compute.gpu_resource_name] = str(compute.gpus_per_node)
    return V1ResourceRequirements(requests=requests, limits=limits)


def _volumes(spec: FinetuneRunSpec, settings: PlanSettings) -> list[V1Volume | Json]:
    compute = spec.compute
    disk = requests_of(compute, settings).get("ephemeral-storage")
    memory = shared_memory_of(compute, settings)
    ours = [
        V1Volume(name=SCRATCH, empty_dir=V1EmptyDirVolumeSource(size_limit=disk)),
        V1Volume(name=SHARED_MEMORY, empty_dir=V1EmptyDirVolumeSource(medium="Memory", size_limit=memory)),
    ]
    if name := secret_name(spec):
        ours.append(V1Volume(name=CREDENTIALS, secret=V1SecretVolumeSource(secret_name=name, default_mode=0o440)))
    return [*ours, *[_plain(volume) for volume in compute.volumes]]


def _mounts(spec: FinetuneRunSpec) -> list[V1VolumeMount | Json]:
    ours = [
        V1VolumeMount(name=SCRATCH, mount_path=SCRATCH_FOLDER),
        V1VolumeMount(name=SHARED_MEMORY, mount_path="/dev/shm"),  # noqa: S108 - where PyTorch's workers share tensors
    ]
    if secret_name(spec):
        ours.append(V1VolumeMount(name=CREDENTIALS, mount_path=CREDENTIALS_FOLDER, read_only=True))
    return [*ours, *[_plain(mount) for mount in spec.compute.volume_mounts]]


def _plain(part: Any) -> Json:
    """A part of the spec whose fields are Kubernetes' own, as it stands in a pod."""
    document: Json = part.model_dump(mode="json", by_alias=True, exclude_none=True)
    return document
