"""Real nodes on a control plane: containerd and kubelet each, kube-proxy and cluster DNS for all. Needs root on Linux.

Pods are real containers; they reach this machine at 10.88.0.1, and this machine reaches them at their addresses. Nodes
share this machine's kernel and bridge, with an address, image store and cgroup root each.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import coredns, kubernetes
from tests.cluster.plane import NODE_IP, POD_CIDR, Plane

BRIDGE = "kbr0"
PAUSE = "localhost/pause:1"
LEASE_SECONDS = 8
"""A node renews its lease four times in it."""

CPU_SHARES = 6144
"""cgroup v1 weighs all pods together as it does one process of the machine, which has 1024."""


@dataclass(frozen=True)
class Node:
    """The node of that number, from 1, on `plane`."""

    plane: Plane
    number: int = 1

    @property
    def name(self) -> str:
        """As the cluster calls it."""
        return f"node{self.number}"

    @property
    def address(self) -> str:
        """On the bridge."""
        return f"10.88.0.{self.number}"

    @property
    def home(self) -> Path:
        """All its files."""
        return self.plane.home / self.name

    @property
    def socket(self) -> Path:
        """containerd's."""
        return self.home / "containerd.sock"

    def start(self, taints: Sequence[Mapping[str, str]] = ()) -> None:
        """Join, and wait until it is ready."""
        (self.home / "cni").mkdir(parents=True)
        (self.home / "cni/10-bridge.conflist").write_text(json.dumps(_network(self)))
        (self.home / "containerd.toml").write_text(_containerd(self.home))
        (self.home / "kubelet.json").write_text(json.dumps({**_kubelet(self), "registerWithTaints": list(taints)}))
        _run("ip", "addr", "replace", f"{self.address}/16", "dev", BRIDGE)
        for folder in self._cgroups():  # kubelet wants its root to exist in each hierarchy
            folder.mkdir(exist_ok=True)
            if (folder / "cpu.shares").exists():
                (folder / "cpu.shares").write_text(str(CPU_SHARES))
        self.plane.parts.start(f"{self.name}.containerd", "containerd", "-c", self.home / "containerd.toml")
        self.plane.parts.wait("containerd", self.socket.exists)
        _load_pause_image(self)
        self.start_kubelet()

    def start_kubelet(self) -> None:
        """The kubelet alone, also again after it was killed."""
        self.plane.parts.start(
            f"{self.name}.kubelet",
            kubernetes() / "kubelet",
            f"--config={self.home}/kubelet.json",
            f"--kubeconfig={self.plane.config_of(self.name)}",
            f"--node-ip={self.address}",
            f"--hostname-override={self.name}",
            f"--root-dir={self.home}/kubelet",
            f"--cert-dir={self.home}/kubelet-pki",
        )
        path = f"/api/v1/nodes/{self.name}"
        self.plane.parts.wait(f"{self.name} is ready", lambda: '"reason":"KubeletReady"' in self.plane.get(path), 120)

    def load_image(self, name: str) -> None:
        """Hand the node an image that buildah built: what a registry's pull would do."""
        archive = self.home / "image.tar"
        archive.unlink(missing_ok=True)
        _run("buildah", "push", name, f"docker-archive:{archive}:{name}")
        _run("ctr", "-a", str(self.socket), "-n", "k8s.io", "images", "import", str(archive))
        archive.unlink()

    def stop(self) -> None:
        """End its kubelet, its containers, their mounts and cgroups, and its containerd."""
        self.plane.parts.kill(f"{self.name}.kubelet")
        ctr = ["ctr", "-a", str(self.socket), "-n", "k8s.io"]
        with contextlib.suppress(subprocess.TimeoutExpired):  # a containerd that was killed does not answer
            listed = subprocess.run(
                [*ctr, "tasks", "ls", "-q"], capture_output=True, text=True, check=False, timeout=10
            )
            for task in listed.stdout.split():  # which ends their shims too
                subprocess.run([*ctr, "tasks", "rm", "-f", task], capture_output=True, check=False, timeout=20)
        self.plane.parts.kill(f"{self.name}.containerd")
        _end_processes_below(self.home)
        mounts = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.home}/")]):
            subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
        for root in self._cgroups():
            for folder in sorted([root, *root.rglob("*/")], reverse=True) if root.exists() else ():
                with contextlib.suppress(OSError):  # a process of it is still ending
                    folder.rmdir()

    def _cgroups(self) -> list[Path]:
        controllers = (path for path in Path("/sys/fs/cgroup").iterdir() if path.is_dir() and not path.is_symlink())
        return [controller / self.name for controller in controllers]


def make_bridge() -> None:
    """The bridge carries the nodes' addresses, so it comes before the API server."""
    if subprocess.run(["ip", "link", "show", BRIDGE], capture_output=True, check=False).returncode:
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "addr", "replace", f"{NODE_IP}/16", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")


def _end_processes_below(home: Path) -> None:
    """Shims that outlived their containerd: they name its socket in their arguments."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{home}/".encode() in (folder / "cmdline").read_bytes():
                _kill(int(folder.name))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def start_services(plane: Plane) -> None:
    """Cluster DNS and Services: one each, as the nodes share this machine's network."""
    corefile = plane.home / "Corefile"
    access = f"kubernetes cluster.local {{\n  kubeconfig {plane.config_of('admin')}\n }}"
    corefile.write_text(f"cluster.local:53 {{\n bind {NODE_IP}\n {access}\n errors\n}}\n")
    plane.parts.start("coredns", coredns(), "-conf", corefile)
    plane.parts.start(
        "kube-proxy",
        kubernetes() / "kube-proxy",
        f"--kubeconfig={plane.config_of('proxy')}",
        "--hostname-override=node1",
        "--proxy-mode=iptables",
        f"--cluster-cidr={POD_CIDR}",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    )


def _network(node: Node) -> dict[str, object]:
    below = f"10.88.{node.number}"
    addresses = {"subnet": POD_CIDR, "rangeStart": f"{below}.1", "rangeEnd": f"{below}.250", "gateway": NODE_IP}
    ipam = {
        "type": "host-local",
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{node.home}/addresses",
        "ranges": [[addresses]],
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": False,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": ipam,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": node.name, "plugins": [bridge, ports]}


def _containerd(home: Path) -> str:
    # Lowering oom_score_adj is refused where the machine lacks CAP_SYS_RESOURCE.
    return f"""version = 2
root = "{home}/containerd/root"
state = "{home}/containerd/state"
[grpc]
  address = "{home}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{home}/cni"
"""


def _kubelet(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "nodeLeaseDurationSeconds": LEASE_SECONDS,
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": f"{node.home}/podlogs",
        "oomScoreAdj": 0,
        "readOnlyPort": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
    }


def _load_pause_image(node: Node) -> None:
    """A container that does nothing, to hold a pod's network."""
    folder = node.home / "pause"
    folder.mkdir()
    shutil.copy(shutil.which("busybox") or "/bin/busybox", folder / "busybox")
    command = 'FROM scratch\nCOPY busybox /busybox\nENTRYPOINT ["/busybox", "sleep", "2147483647"]\n'
    (folder / "Dockerfile").write_text(command)
    _run("buildah", "bud", "--isolation", "chroot", "--layers", "-t", PAUSE, str(folder))
    node.load_image(PAUSE)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
