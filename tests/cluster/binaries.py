"""Kubernetes, built from its Go modules into one program: ten minutes once, kept outside the checkout."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.support.go_tools import build_environment, cache_folder, go_program

HERE = Path(__file__).resolve().parent / "kube"
VERSION = "1.37.2"
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
COREDNS = ("github.com/coredns/coredns", "v1.15.0")
HELM = ("helm.sh/helm/v3/cmd/helm", "v3.22.0")


def kubernetes() -> Path:
    """The folder with a program for each part, built by the first who asks."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")))
    folder = cache_folder() / f"kube-{VERSION}-{digest.hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "kubelet").exists():
            _build(folder)
    return folder


def coredns() -> Path:
    """Cluster DNS."""
    return go_program(*COREDNS)


def helm() -> Path:
    """Helm."""
    return go_program(*HELM)


def _build(folder: Path) -> None:
    variable = "k8s.io/component-base/version"
    major, minor, _ = VERSION.split(".")
    flags = f"-s -w -X {variable}.gitVersion=v{VERSION} -X {variable}.gitMajor={major} -X {variable}.gitMinor={minor}"
    go = shutil.which("go") or "go"
    program = folder / "kube"
    done = subprocess.run(
        [go, "build", "-trimpath", "-ldflags", flags, "-o", program, "."],
        cwd=HERE,
        env=build_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"Kubernetes {VERSION} does not build:\n{done.stderr[-4000:]}")
    for part in PARTS:
        (folder / part).symlink_to(program.name)


if __name__ == "__main__":
    kubernetes()
