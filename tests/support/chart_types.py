"""What each value of the chart may be: the part of values.schema.json that values.yaml cannot say.

Parts that go to the pod as they are have Kubernetes' own shape, read from its client: a mistyped key is refused there
too.
"""

import re
from dataclasses import dataclass
from typing import Any

from kubernetes.client import models

from finetune_sdk.api.patterns import QUANTITY_PATTERN

Json = dict[str, Any]
SCALARS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
REGISTRY = r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?/"


@dataclass(frozen=True)
class ValueType:
    """`words` stand in the README, `schema` in values.schema.json."""

    words: str
    schema: Json


def kubernetes_schema(name: str) -> Json:
    """The JSON Schema of a type as Kubernetes' client names it, such as `List[V1Toleration]`, without unknown keys."""
    if inner := re.fullmatch(r"List\[(.+)]", name):
        return {"type": "array", "items": kubernetes_schema(inner[1])}
    if inner := re.fullmatch(r"Dict\[str, (.+)]", name):
        return {"type": "object", "additionalProperties": kubernetes_schema(inner[1])}
    if name in SCALARS:
        return {"type": SCALARS[name]}
    model = getattr(models, name)
    below = {model.attribute_map[field]: kubernetes_schema(kind) for field, kind in model.openapi_types.items()}
    return {"type": "object", "additionalProperties": False, "properties": dict(sorted(below.items()))}


def _string(pattern: str, longest: int) -> Json:
    return {"type": "string", "pattern": pattern, "maxLength": longest}


def _choice(*words: str) -> ValueType:
    return ValueType(", ".join(f"`{word}`" for word in words), {"type": "string", "enum": list(words)})


QUANTITY_SCHEMA: Json = {"type": ["string", "number"], "pattern": QUANTITY_PATTERN, "exclusiveMinimum": 0}
"""Numbers too: --set trainer.cpu=4 is one."""
AMOUNTS: Json = {"type": "object", "additionalProperties": QUANTITY_SCHEMA}
TEXTS: Json = {"type": "object", "additionalProperties": {"type": "string"}}

BOOLEAN = ValueType("boolean", {"type": "boolean"})
MAP = ValueType("map", TEXTS)
QUANTITY = ValueType("quantity", QUANTITY_SCHEMA)
NAME = ValueType("string", _string(r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$", 63))
OBJECT_NAME = ValueType("string", _string(rf"^({DNS_LABEL}(\.{DNS_LABEL})*)?$", 253))
REPOSITORY = ValueType("string", _string(rf"^({REGISTRY})?[a-z0-9]+([._/-]+[a-z0-9]+)*$", 255))
TAG = ValueType("string", _string(r"^([A-Za-z0-9_][A-Za-z0-9._-]*)?$", 128))
DIGEST = ValueType("string", _string(r"^(sha256:[0-9a-f]{64})?$", 71))
NAMESPACES = ValueType(
    "list of strings", {"type": "array", "uniqueItems": True, "items": _string(f"^{DNS_LABEL}$", 63)}
)
PORTS = ValueType(
    "list of integers",
    {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 65535}},
)
SECRETS = ValueType(
    "list of objects", {"type": "array", "items": {**kubernetes_schema("V1LocalObjectReference"), "required": ["name"]}}
)
RESOURCES = ValueType(
    "object",
    {"type": "object", "additionalProperties": False, "properties": {"limits": AMOUNTS, "requests": AMOUNTS}},
)

VALUES: dict[str, ValueType] = {
    "nameOverride": NAME,
    "fullnameOverride": NAME,
    "crds.install": BOOLEAN,
    "namespaces": NAMESPACES,
    "replicas": ValueType("integer", {"type": "integer", "minimum": 0, "maximum": 10}),
    "image.repository": REPOSITORY,
    "image.tag": TAG,
    "image.digest": DIGEST,
    "image.pullPolicy": _choice("Always", "IfNotPresent", "Never"),
    "imagePullSecrets": SECRETS,
    "trainer.image.repository": REPOSITORY,
    "trainer.image.tag": TAG,
    "trainer.image.digest": DIGEST,
    "trainer.cpu": QUANTITY,
    "trainer.memory": QUANTITY,
    "trainer.ephemeralStorage": QUANTITY,
    "trainer.sharedMemory": QUANTITY,
    "logLevel": _choice("debug", "info", "warning", "error"),
    "resources": RESOURCES,
    "nodeSelector": MAP,
    "tolerations": ValueType("list of objects", kubernetes_schema("List[V1Toleration]")),
    "affinity": ValueType("object", kubernetes_schema("V1Affinity")),
    "priorityClassName": OBJECT_NAME,
    "podLabels": MAP,
    "podAnnotations": MAP,
    "serviceAccount.create": BOOLEAN,
    "serviceAccount.name": OBJECT_NAME,
    "serviceAccount.annotations": MAP,
    "rbac.create": BOOLEAN,
    "rbac.aggregate": BOOLEAN,
    "service.create": BOOLEAN,
    "networkPolicy.create": BOOLEAN,
    "networkPolicy.apiServerPorts": PORTS,
}
"""By path; exactly those that values.yaml documents."""
