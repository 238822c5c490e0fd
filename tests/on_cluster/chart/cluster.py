"""What tests of the chart do on a control plane: namespaces, releases, questions about rights, a release's operator."""

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from tests.cluster.lab import kubectl
from tests.on_cluster.chart.helm import CHART, RELEASE, call
from tests.on_cluster.chart.rights import Rights, rights_of
from tests.on_cluster.conftest import Kube
from tests.on_cluster.faults.api import ControlPlane, Json

PATIENCE_SECONDS = 180.0
"""On a busy machine; nothing is slow when it is not."""
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@dataclass(frozen=True)
class Cluster:
    """The control plane that `kubeconfig` leads to, as its administrator."""

    kubeconfig: Path

    @property
    def kube(self) -> Kube:
        """kubectl."""
        return Kube(self.kubeconfig)

    @property
    def api(self) -> ControlPlane:
        """Plain requests."""
        return ControlPlane.of(self.kubeconfig)

    def kubectl(self, *words: str | Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """kubectl to its end, whatever that is."""
        command = [kubectl(), *words]
        return subprocess.run(command, input=stdin, env=self.kube.env, capture_output=True, text=True, check=False)

    def helm(self, *words: str | Path, values: Json | None = None) -> str:
        """helm's output; its error, and what the API server warns of, is the test's."""
        given = ["-f", "-"] if values is not None else []
        done = call(*words, *given, stdin=json.dumps(values or {}), kubeconfig=self.kubeconfig)
        assert done.returncode == 0, f"helm {' '.join(map(str, words))}: {done.stderr}"
        assert "would violate PodSecurity" not in done.stderr
        return done.stdout

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """One of its own that enforces the restricted standard and warns of it; it goes in the background."""
        name = f"c-{uuid.uuid4().hex[:8]}"
        self.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
        try:
            yield name
        finally:
            self.kube("delete", "namespace", name, "--wait=false")

    @contextlib.contextmanager
    def release(self, namespace: str, values: Json | None = None, name: str = RELEASE) -> Iterator[None]:
        """The chart without the CRD, uninstalled in the end."""
        self.helm("install", name, CHART, "-n", namespace, values={"crds": {"install": False}, **(values or {})})
        try:
            yield
        finally:
            self.helm("uninstall", name, "-n", namespace)

    def token(self, namespace: str, account: str = RELEASE) -> str:
        """One of a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        token: str = self.api.call("POST", path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
        return token

    def rights(self, token: str, namespace: str) -> Rights:
        """All that the API server says its holder may do in a namespace."""
        holder = ControlPlane(self.api.server, token, self.api.authority)
        review = {"spec": {"namespace": namespace}}
        status = holder.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)["status"]
        assert not status["incomplete"]
        return rights_of(status["resourceRules"])

    def may(self, user: str, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool:
        """Whether the API server would let `user` do that."""
        resource, _, subresource = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name}
        review = {"spec": {"user": user, "resourceAttributes": {**asked, "namespace": namespace}}}
        if user.startswith("system:serviceaccount:"):
            of_accounts = f"system:serviceaccounts:{user.split(':')[2]}"
            review["spec"]["groups"] = ["system:serviceaccounts", of_accounts, "system:authenticated"]
        answer = self.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    @contextlib.contextmanager
    def operator(self, namespace: str, folder: Path, name: str = RELEASE) -> Iterator[Path]:
        """The release's operator, here and not in a pod: its options, and its service account's rights. Its log."""
        of_release = f"--selector=app.kubernetes.io/instance={name}"
        (deployment,) = json.loads(self.kube("get", "deployments", of_release, "-n", namespace, "-o", "json"))["items"]
        options = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
        config = YAML(typ="safe").load(self.kubeconfig)
        config["users"][0]["user"] = {"token": self.token(namespace, account)}
        kubeconfig, log = folder / f"{name}.kubeconfig", folder / f"{name}.log"
        kubeconfig.write_text(json.dumps(config))
        command = [sys.executable, "-m", "finetune_operator", *options, "--http-port=0"]
        with log.open("ab") as output:
            process = subprocess.Popen(command, stderr=output, env={**os.environ, "KUBECONFIG": str(kubeconfig)})
        try:
            yield log
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
