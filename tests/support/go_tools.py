"""Go programs that tests run: built once, kept outside the checkout, shared by all test processes."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """FINETUNE_TEST_CACHE, or a folder of the user's cache."""
    given = os.environ.get("FINETUNE_TEST_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "finetune-operator"


def go_program(module: str, version: str) -> Path:
    """The program of a Go module at a version, e.g. `github.com/minio/minio`, built by the first who asks."""
    folder = cache_folder() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / Path(module).name
    with (folder / f"{program.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _version(program) != version:
            _install(f"{module}@{version}", program)
    return program


def build_environment() -> dict[str, str]:
    """What `go` builds with: its caches, some 10 GB, lie in a folder that drop_build_caches removes."""
    caches = cache_folder() / "go"
    return {
        **os.environ,
        "GOCACHE": str(caches / "build"),
        "GOMODCACHE": str(caches / "modules"),
        "GOFLAGS": "-modcacherw",
    }


def drop_build_caches() -> None:
    """Once all is built nobody needs them."""
    shutil.rmtree(cache_folder() / "go", ignore_errors=True)


def _version(program: Path) -> str | None:
    """What `go version -m` says: `mod  MODULE  VERSION  HASH`."""
    if not program.exists():
        return None
    said = subprocess.run([_go(), "version", "-m", program], capture_output=True, text=True, check=True).stdout
    lines = (line.split() for line in said.splitlines())
    return next((words[2] for words in lines if words[:1] == ["mod"]), None)


def _install(package: str, program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        env = {**build_environment(), "GOBIN": folder, "CGO_ENABLED": "0"}
        done = subprocess.run([_go(), "install", package], env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"go install {package}:\n{done.stderr}")
        (Path(folder) / program.name).replace(program)


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise RuntimeError("the tests build their servers with Go: install Go 1.26 or newer (https://go.dev/dl)")
    return found
