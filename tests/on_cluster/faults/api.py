"""A control plane as these tests use it: plain JSON over HTTPS."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
from ruamel.yaml import YAML

Json = dict[str, Any]
T = TypeVar("T")
RUNS = "/apis/finetune.dev/v1alpha1"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/finetune-operator"


@dataclass(frozen=True)
class ControlPlane:
    """An API server with a kube-controller-manager, and nothing that runs pods."""

    server: str
    token: str
    authority: str

    @classmethod
    def of(cls, kubeconfig: Path) -> "ControlPlane":
        """The one that `kubeconfig`, with a token, leads to."""
        config = YAML(typ="safe").load(kubeconfig)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        return cls(cluster["server"], user["token"], cluster["certificate-authority"])

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """The answer; requests.HTTPError where the server refuses."""
        merge = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        answer = requests.request(
            method,
            self.server + path,
            json=body,
            headers={"Authorization": f"Bearer {self.token}", **merge},
            verify=self.authority,
            timeout=30,
        )
        answer.raise_for_status()
        document: Json = answer.json()
        return document

    def items(self, path: str) -> list[Json]:
        """Objects of a list."""
        items: list[Json] = self.call("GET", path)["items"]
        return items

    def gone(self, path: str) -> bool:
        """Whether nothing is at `path`."""
        answer = requests.get(
            self.server + path, headers={"Authorization": f"Bearer {self.token}"}, verify=self.authority, timeout=30
        )
        return answer.status_code == 404


def until(look: Callable[[], T], seconds: float, what: Callable[[], object]) -> T:
    """What `look` returns once that is true; `what` tells how things stood where it never was."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
    return found
