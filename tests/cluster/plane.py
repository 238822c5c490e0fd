"""A real control plane: etcd, API server, controller manager and scheduler. Three to five seconds, no root."""

import json
import ssl
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.cluster.binaries import kubernetes
from tests.cluster.parts import Parts
from tests.support.processes import free_ports

NODE_IP, POD_CIDR, SERVICE_CIDR = "10.88.0.1", "10.88.0.0/16", "10.96.0.0/16"
PORT_FILE = "api-port"
MONITOR_GRACE = "20s"
"""After which a node that does not renew its lease is NotReady; nodes renew every two seconds."""
USERS = {
    "admin": ("admin", "system:masters"),
    "kcm": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "node1": ("system:node:node1", "system:nodes"),
    "node2": ("system:node:node2", "system:nodes"),
}
"""Who may call the API server: name, user, group."""


@dataclass(frozen=True)
class Plane:
    """A control plane below `home`."""

    home: Path
    api_port: int
    parts: Parts

    @classmethod
    def at(cls, home: Path) -> Self:
        """The one that was started in `home`, maybe by another process."""
        return cls(home, int((home / PORT_FILE).read_text()), Parts(home))

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""
        return self.home / "admin.kubeconfig"

    def config_of(self, name: str) -> Path:
        """Write the way in of one of USERS."""
        path = self.home / f"{name}.kubeconfig"
        host = NODE_IP if name == "proxy" else "127.0.0.1"
        cluster = {
            "server": f"https://{host}:{self.api_port}",
            "certificate-authority": str(self.home / "pki/apiserver.crt"),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": f"{name}-token"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        }
        path.write_text(json.dumps(document))
        return path

    def get(self, path: str) -> str:
        """The API server's answer, as the administrator."""
        context = ssl.create_default_context(cafile=str(self.home / "pki/apiserver.crt"))
        url = f"https://127.0.0.1:{self.api_port}{path}"
        request = urllib.request.Request(url, headers={"Authorization": "Bearer admin-token"})
        with urllib.request.urlopen(request, timeout=2, context=context) as response:  # noqa: S310
            answer: bytes = response.read()
        return answer.decode()


def start(home: Path, *, nodes: bool = False) -> Plane:
    """Start one in the empty folder `home`; with `nodes`, so that nodes and their pods reach it."""
    programs = kubernetes()
    api_port, etcd_port, peer_port = free_ports(3)
    plane = Plane(home, api_port, Parts(home))
    (home / PORT_FILE).write_text(str(api_port))
    _make_keys(home / "pki")
    _start_etcd(plane, programs, etcd_port, peer_port)
    _start_api_server(plane, programs, etcd_port, nodes)
    _start_controllers(plane, programs)
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    plane.config_of("admin")
    plane.parts.wait("the default service account", lambda: bool(plane.get(account)))
    return plane


def _make_keys(pki: Path) -> None:
    pki.mkdir(parents=True)
    names = f"subjectAltName=IP:127.0.0.1,IP:{NODE_IP},IP:10.96.0.1,DNS:kubernetes.default.svc"
    pair = ["-keyout", str(pki / "apiserver.key"), "-out", str(pki / "apiserver.crt")]
    subject = ["-days", "30", "-subj", "/CN=test", "-addext", names]
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *pair)
    _openssl("genrsa", "-out", str(pki / "sa.key"), "2048")
    _openssl("rsa", "-in", str(pki / "sa.key"), "-pubout", "-out", str(pki / "sa.pub"))
    lines = (f'{name}-token,{user},{name},"{group}"\n' for name, (user, group) in USERS.items())
    (pki / "tokens.csv").write_text("".join(lines))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _start_etcd(plane: Plane, programs: Path, port: int, peer_port: int) -> None:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    clients = ["--listen-client-urls", client, "--advertise-client-urls", client]
    peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
    data = ["--data-dir", str(plane.home / "etcd"), "--unsafe-no-fsync"]
    plane.parts.start("etcd", programs / "etcd", *data, *clients, *peers)


def _start_api_server(plane: Plane, programs: Path, etcd_port: int, nodes: bool) -> None:
    pki = plane.home / "pki"
    reach = (
        ["--bind-address=0.0.0.0", f"--advertise-address={NODE_IP}"]
        if nodes
        else ["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]
    )
    plane.parts.start(
        "kube-apiserver",
        programs / "kube-apiserver",
        *reach,
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--secure-port={plane.api_port}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--token-auth-file={pki}/tokens.csv",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
    )
    plane.parts.wait("the API server", lambda: plane.get("/readyz") == "ok")


def _start_controllers(plane: Plane, programs: Path) -> None:
    pki = plane.home / "pki"
    common = ["--leader-elect=false", "--secure-port=0"]
    plane.parts.start(
        "kube-controller-manager",
        programs / "kube-controller-manager",
        *common,
        f"--kubeconfig={plane.config_of('kcm')}",
        f"--service-account-private-key-file={pki}/sa.key",
        f"--root-ca-file={pki}/apiserver.crt",
        "--use-service-account-credentials",
        f"--node-monitor-grace-period={MONITOR_GRACE}",
    )
    config = plane.config_of("scheduler")
    plane.parts.start("kube-scheduler", programs / "kube-scheduler", *common, f"--kubeconfig={config}")
