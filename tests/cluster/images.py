"""The project's images from their own Dockerfiles, without Docker: buildah, on a base image made by debootstrap.

Layers are cached: a change of code rebuilds the last layers only. What a build needs of this machine (certificates,
settings of package clients) is mounted while it runs and stays in no image.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.go_tools import cache_folder

ROOT = Path(__file__).resolve().parents[2]
BASE = "localhost/finetune-base:bookworm"
BUILD_BASE = "localhost/finetune-build:bookworm"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
COMPILER = "gcc binutils libc6-dev"
STAGE = re.compile(r"^FROM .* AS (\w+)$", re.MULTILINE)
UV_SETTINGS = "system-certs = true\n"
TRAINER, OPERATOR = "localhost/finetune-trainer:test", "localhost/finetune-operator:test"
STAND_IN = "localhost/finetune-stand-in:test"
DOCKERFILES = {
    TRAINER: (
        "trainer_image/Dockerfile",
        ("EXCLUDES=tests/cluster/cuda_packages.txt", "PATCH=tests/cluster/stub_cuda.py"),
    ),
    OPERATOR: ("operator/Dockerfile", ()),
    STAND_IN: ("tests/cluster/stand_in/Dockerfile", ()),
}


def run(*command: str | Path) -> str:
    """A command's output; its error is the exception's text."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[:6]))} ...:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def exists(image: str) -> bool:
    """Whether buildah has it."""
    return subprocess.run(["buildah", "inspect", image], capture_output=True, check=False).returncode == 0


def ensure_base() -> None:
    """The base images, from Debian's packages: a minute once."""
    if not exists(BASE):
        with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
            root = Path(folder) / "rootfs"
            run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root)
            shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
            (Path(folder) / "Dockerfile").write_text("FROM scratch\nCOPY rootfs/ /\n")
            _bud(BASE, Path(folder), Path(folder) / "Dockerfile", ())
    if not exists(BUILD_BASE):
        with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
            install = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {COMPILER}"
            (Path(folder) / "Dockerfile").write_text(f"FROM {BASE}\nRUN {install}\n")
            _bud(BUILD_BASE, Path(folder), Path(folder) / "Dockerfile", ())


def build(image: str) -> str:
    """Build an image, as far as it changed; its id."""
    ensure_base()
    dockerfile, arguments = DOCKERFILES[image]
    given = (f"BASE_IMAGE={BASE}", f"BUILD_IMAGE={BUILD_BASE}", *arguments)
    built = _bud(image, ROOT, ROOT / dockerfile, given)
    for stage in STAGE.findall((ROOT / dockerfile).read_text()):  # all in the cache by now: a name keeps them there
        _bud(f"{image}-{stage}", ROOT, ROOT / dockerfile, given, "--target", stage)
    return built


def prune() -> None:
    """Remove what no image of now is made of: each change of code or packages leaves up to some gigabytes.

    What a build that was killed, or is under way, holds stays: buildah tells so as an error, after it removed the rest.
    """
    subprocess.run(["buildah", "rmi", "--prune"], capture_output=True, check=False)


def _bud(image: str, context: Path, dockerfile: Path, arguments: Sequence[str], *more: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "uv.toml"
        settings.write_text(UV_SETTINGS)
        mounts = [f"{settings}:/etc/uv/uv.toml:ro", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        mounts += [f"{path}:{path}:ro" for path in ("/etc/pip.conf",) if Path(path).exists()]
        volumes = [word for mount in mounts for word in ("--volume", mount)] if arguments or "build" in image else []
        given = [word for argument in arguments for word in ("--build-arg", argument)]
        command = ["buildah", "bud", "--isolation", "chroot", "--layers", "--quiet", "--tag", image]
        return run(*command, *volumes, *given, *more, "--file", dockerfile, context).strip().splitlines()[-1]


def _scratch() -> Path:
    folder = cache_folder() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    for name in sys.argv[1:] or DOCKERFILES:
        print(name, build(name))
    prune()
