"""What the tests need beside Python packages: checked, and where this machine allows it installed, before they run.

python -m tests.support.tools
"""

import os
import shutil
import subprocess
import sys

from tests.cluster import binaries
from tests.support import minio
from tests.support.go_tools import drop_build_caches, go_program

PACKAGES = {
    "chromium": "chromium",
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "ip": "iproute2",
    "buildah": "buildah",
    "busybox": "busybox-static",
    "debootstrap": "debootstrap",
    "openssl": "openssl",
}
"""Debian's packages by a program of each: a browser for the report, and what a node and its images need."""


def ensure_packages() -> None:
    """Install what is missing, as root on Debian; elsewhere say what is."""
    missing = sorted(package for program, package in PACKAGES.items() if not shutil.which(program))
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"the tests need {', '.join(missing)}: on Debian 12 or newer, as root, `make setup` installs them")
    quiet = ["-qq", "-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", *quiet], check=True, env=environment)
    subprocess.run(
        ["apt-get", "install", "-y", "--no-install-recommends", *quiet, *missing],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def ensure_minio() -> None:
    """Built from its Go module once, some minutes; kept outside the checkout."""
    if not shutil.which("go"):
        sys.exit("the tests need Go 1.26 or newer to build a MinIO server: install Go and put it on the PATH")
    go_program(minio.MODULE, minio.VERSION)


def ensure_cluster() -> None:
    """Kubernetes, cluster DNS and Helm, each built from its Go module once: a quarter of an hour."""
    binaries.kubernetes()
    binaries.coredns()
    binaries.helm()


if __name__ == "__main__":
    ensure_packages()
    ensure_minio()
    ensure_cluster()
    drop_build_caches()
