"""Which field would help, by what the scheduler, the API server or the kubelet say."""

import re
from collections.abc import Iterator

from finetune_operator.manifests.pod import secret_name
from finetune_sdk.api.run import FinetuneRunSpec

_INSUFFICIENT = re.compile(r"Insufficient ([\w./-]+\w)")
_NO_SECRET = re.compile(r'secrets? "([^"]+)" not found')
_NO_CONFIG_MAP = re.compile(r'configmaps? "([^"]+)" not found')
_NO_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) (\S+)")
_NO_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_REFUSALS = (
    ("exceeded quota", "raise the quota, or ask for less in spec.compute.resources and spec.compute.gpusPerNode"),
    ("failed quota", "raise the quota, or ask for what it bounds in spec.compute.resources"),
    ("PriorityClass", "make the priority class, or change spec.compute.priorityClassName"),
    ("RuntimeClass", "make the runtime class, or change spec.compute.runtimeClassName"),
    ("serviceaccount", "make the service account, or change spec.compute.serviceAccountName"),
    (
        "violates PodSecurity",
        "change spec.compute.securityContext and spec.compute.volumes to what the standard allows",
    ),
    ("usage per", "ask in spec.compute.resources for what the LimitRange allows"),
    ("admission webhook", "ask who owns that policy, or change spec.compute so that it allows the pod"),
)
"""A part of the API server's words, and what would help."""


def scheduling_hint(said: str, spec: FinetuneRunSpec) -> str:
    """What would let a node fit."""
    return f"Free or add room, or change {' and '.join(dict.fromkeys(_misfits(said, spec)))}"


def _misfits(said: str, spec: FinetuneRunSpec) -> Iterator[str]:
    for resource in dict.fromkeys(_INSUFFICIENT.findall(said)):
        if resource == spec.compute.gpu_resource_name:
            yield f"spec.compute.gpusPerNode (now {spec.compute.gpus_per_node}; 0 trains on the CPU)"
        else:
            yield f"spec.compute.resources.requests.{resource}"
    if "taint" in said:
        yield "spec.compute.tolerations"
    if "affinity" in said or "selector" in said:
        yield "spec.compute.nodeSelector or affinity"
    if "persistentvolumeclaim" in said or "volume" in said:
        yield "spec.compute.volumes"
    if not re.search(r"Insufficient|taint|affinity|selector|persistentvolumeclaim|volume", said):
        yield "spec.compute.resources, nodeSelector and tolerations"


def refusal_hint(said: str) -> str:
    """What would let the API server take the pod."""
    helps = next((helps for part, helps in _REFUSALS if part in said), "change spec.compute so that the pod is allowed")
    return f"{helps[0].upper()}{helps[1:]}"


def missing_hint(said: str, spec: FinetuneRunSpec, namespace: str) -> str:
    """The command that makes what a pod needs and is not there; else the fields that name what it mounts."""
    if found := _NO_SECRET.search(said):
        keys = "KEY=VALUE"
        if found[1] == secret_name(spec):
            keys = "endpoint=URL --from-literal=accessKey=KEY --from-literal=secretKey=SECRET"
        return f"Make the Secret: kubectl create secret generic {found[1]} -n {namespace} --from-literal={keys}"
    if found := _NO_CONFIG_MAP.search(said):
        return f"Make the ConfigMap: kubectl create configmap {found[1]} -n {namespace} --from-literal=KEY=VALUE"
    if found := _NO_KEY.search(said):
        return f"Add the key {found[1]} to {found[2]} {found[3]}, or change spec.compute.env or spec.compute.volumes"
    if found := _NO_CLAIM.search(said):
        return f"Make the claim {found[1]}, or change spec.compute.volumes"
    secret = secret_name(spec)
    mounted = f"Secret {secret} (spec.storage.secretRef), " if secret else ""
    return f"Look at {mounted}spec.compute.volumes, volumeMounts and env"
