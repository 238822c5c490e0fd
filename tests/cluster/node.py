"""A real node on a control plane: containerd, kubelet, kube-proxy and cluster DNS. Needs root on Linux.

Pods are real containers; they reach this machine at 10.88.0.1, and this machine reaches them at their addresses.
"""

import json
import shutil
import subprocess
from pathlib import Path

from tests.cluster.binaries import coredns, kubernetes
from tests.cluster.plane import NODE_IP, POD_CIDR, Plane

BRIDGE, NODE = "kbr0", "node1"
PAUSE = "localhost/pause:1"
GPUS = 4
"""Simulated, as an extended resource."""


def make_bridge() -> None:
    """The bridge carries the node's address, so it comes before the API server."""
    if subprocess.run(["ip", "link", "show", BRIDGE], capture_output=True, check=False).returncode:
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "addr", "replace", f"{NODE_IP}/16", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")


def start(plane: Plane) -> None:
    """Join the node, and wait until it is ready."""
    home = plane.home / NODE
    (home / "cni").mkdir(parents=True)
    _start_services(plane)
    (home / "cni/10-bridge.conflist").write_text(json.dumps(_network(home)))
    (home / "containerd.toml").write_text(_containerd(home))
    (home / "kubelet.json").write_text(json.dumps(_kubelet(home)))
    for controller in Path("/sys/fs/cgroup").iterdir():  # kubelet wants its root to exist in each hierarchy
        if controller.is_dir() and not controller.is_symlink():
            (controller / NODE).mkdir(exist_ok=True)
    plane.parts.start(f"{NODE}.containerd", "containerd", "-c", home / "containerd.toml")
    plane.parts.wait("containerd", socket(plane).exists)
    _load_pause_image(plane)
    plane.parts.start(
        f"{NODE}.kubelet",
        kubernetes() / "kubelet",
        f"--config={home}/kubelet.json",
        f"--kubeconfig={plane.config_of(NODE)}",
        f"--node-ip={NODE_IP}",
        f"--hostname-override={NODE}",
        f"--root-dir={home}/kubelet",
        f"--cert-dir={home}/kubelet-pki",
    )
    plane.parts.wait(NODE, lambda: '"reason":"KubeletReady"' in plane.get(f"/api/v1/nodes/{NODE}"))


def stop(plane: Plane) -> None:
    """End the node's containers and mounts, and then every part of the cluster."""
    plane.parts.kill("kubelet")
    ctr = ["ctr", "-a", str(socket(plane)), "-n", "k8s.io"]
    listed = subprocess.run([*ctr, "tasks", "ls", "-q"], capture_output=True, text=True, check=False)
    for task in listed.stdout.split():
        subprocess.run([*ctr, "tasks", "rm", "-f", task], capture_output=True, check=False)  # ends its shim too
    plane.parts.kill()
    mounts = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    for mount in reversed([mount for mount in mounts if mount.startswith(str(plane.home))]):
        subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
    shutil.rmtree(plane.home, ignore_errors=True)


def load_image(plane: Plane, name: str) -> None:
    """Hand the node an image that buildah built: what a registry's pull would do."""
    archive = plane.home / "image.tar"
    archive.unlink(missing_ok=True)
    _run("buildah", "push", name, f"docker-archive:{archive}:{name}")
    _run("ctr", "-a", str(socket(plane)), "-n", "k8s.io", "images", "import", str(archive))
    archive.unlink()


def socket(plane: Plane) -> Path:
    """containerd's."""
    return plane.home / NODE / "containerd.sock"


def _start_services(plane: Plane) -> None:
    corefile = plane.home / "Corefile"
    access = f"kubernetes cluster.local {{\n  kubeconfig {plane.config_of('admin')}\n }}"
    corefile.write_text(f"cluster.local:53 {{\n bind {NODE_IP}\n {access}\n errors\n}}\n")
    plane.parts.start("coredns", coredns(), "-conf", corefile)
    plane.parts.start(
        "kube-proxy",
        kubernetes() / "kube-proxy",
        f"--kubeconfig={plane.config_of('proxy')}",
        f"--hostname-override={NODE}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={POD_CIDR}",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    )


def _network(home: Path) -> dict[str, object]:
    addresses = {"subnet": POD_CIDR, "rangeStart": "10.88.1.1", "rangeEnd": "10.88.1.250", "gateway": NODE_IP}
    ipam = {
        "type": "host-local",
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{home}/addresses",
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
    return {"cniVersion": "0.4.0", "name": NODE, "plugins": [bridge, ports]}


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


def _kubelet(home: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{home}/containerd.sock",
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{NODE}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": f"{home}/podlogs",
        "oomScoreAdj": 0,
        "readOnlyPort": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
    }


def _load_pause_image(plane: Plane) -> None:
    """A container that does nothing, to hold a pod's network."""
    folder = plane.home / "pause"
    folder.mkdir()
    shutil.copy(shutil.which("busybox") or "/bin/busybox", folder / "busybox")
    command = 'FROM scratch\nCOPY busybox /busybox\nENTRYPOINT ["/busybox", "sleep", "2147483647"]\n'
    (folder / "Dockerfile").write_text(command)
    _run("buildah", "bud", "--isolation", "chroot", "--layers", "-t", PAUSE, str(folder))
    load_image(plane, PAUSE)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
