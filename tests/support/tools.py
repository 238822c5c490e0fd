"""What the tests need beside Python packages: checked, and where this machine allows it installed, before they run.

python -m tests.support.tools
"""

import os
import shutil
import subprocess
import sys

from tests.support import minio
from tests.support.go_tools import go_program


def ensure_browser() -> None:
    """The report is looked at in a real browser."""
    if shutil.which("chromium"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit("the tests need a browser: install chromium (Debian: apt-get install chromium)")
    quiet = ["-qq", "-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", *quiet], check=True, env=environment)
    subprocess.run(
        ["apt-get", "install", "-y", "--no-install-recommends", *quiet, "chromium"],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def ensure_minio() -> None:
    """Built from its Go module once, some minutes; kept outside the checkout."""
    if not shutil.which("go"):
        sys.exit("the tests need Go 1.26 or newer to build a MinIO server: install Go and put it on the PATH")
    go_program(minio.MODULE, minio.VERSION)


if __name__ == "__main__":
    ensure_browser()
    ensure_minio()
