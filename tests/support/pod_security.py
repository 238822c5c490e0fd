"""The `restricted` Pod Security Standard, as far as a pod's text shows it: each breach as a sentence.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def breaches(spec: Json) -> list[str]:
    """What in a pod's spec the standard forbids; empty where nothing is."""
    return [*_of_pod(spec), *(breach for one in spec["containers"] for breach in _of_container(one, spec))]


def _of_pod(spec: Json) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC", "ephemeralContainers", "initContainers"):
        if spec.get(field):
            yield field
    for volume in spec.get("volumes", []):
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {kind}"


def _of_container(container: Json, spec: Json) -> Iterator[str]:
    own, pods = container.get("securityContext", {}), spec.get("securityContext", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
        yield "capabilities"
    if not own.get("runAsNonRoot", pods.get("runAsNonRoot")):
        yield "runAsNonRoot"
    if own.get("runAsUser", pods.get("runAsUser")) == 0:
        yield "runAsUser 0"
    if (own.get("seccompProfile") or pods.get("seccompProfile") or {}).get("type") not in (
        "RuntimeDefault",
        "Localhost",
    ):
        yield "seccompProfile"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield "hostPort"
