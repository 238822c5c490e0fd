"""All that runs on a real node need: a cluster with one, MinIO beside it, the project's images, the operator installed.

One lab serves every test process, and `make cluster` makes one to try things in.
"""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import images, node, plane
from tests.cluster.binaries import helm
from tests.cluster.node import Node
from tests.cluster.plane import NODE_IP, Plane
from tests.support import minio
from tests.support.minio import S3Server
from tests.support.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/finetune-operator"
SYSTEM = "finetune-system"
"""The operator's namespace; it enforces the restricted standard."""
STORAGE = "storage.json"
RECORD = Path(tempfile.gettempdir()) / "finetune-lab.json"
"""Where this machine's lab is: its addresses are fixed, so there is one at a time."""


@dataclass(frozen=True)
class Lab:
    """A lab that is up."""

    kubeconfig: Path
    storage: S3Server
    home: Path | None
    """None: somebody else's cluster, whose node cannot be reached into."""

    @property
    def plane(self) -> Plane:
        """The control plane's processes. Raises RuntimeError for a cluster that is not ours."""
        if self.home is None:
            raise RuntimeError("this needs the project's own test cluster: unset FINETUNE_TEST_KUBECONFIG")
        return Plane.at(self.home)

    @property
    def node(self) -> Node:
        """The first node. Raises RuntimeError for a cluster that is not ours."""
        return Node(self.plane)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """A command's output; its error is the exception's text."""
        return _run(str(kubectl()), *arguments, kubeconfig=self.kubeconfig, stdin=stdin)


def kubectl() -> Path:
    """Beside this Python, as `make setup` installs it, else on the PATH."""
    beside = ROOT / ".venv/bin/kubectl"
    return beside if beside.exists() else Path(shutil.which("kubectl") or "kubectl")


def up(home: Path, owner: int = 0) -> Lab:
    """Bring one up in the empty folder `home`; what was started of it is ended where that fails.

    With `owner`, a process's id, it may be taken down by others once that process is gone. Raises RuntimeError where
    this machine has a lab already.
    """
    _make_room()
    RECORD.write_text(json.dumps({"home": str(home), "owner": owner}))
    try:
        node.make_bridge()
        started = plane.start(home, nodes=True)
        node.start_services(started)
        first = Node(started)
        first.start()
        _start_storage(started)
        for image in images.DOCKERFILES:
            images.build(image)
            first.load_image(image)
        lab = at(home)
        _install(lab)
    except BaseException:
        down(home)
        raise
    return lab


def at(home: Path) -> Lab:
    """The one that is up in `home`."""
    stored = json.loads((home / STORAGE).read_text())
    server = S3Server(stored["endpoint"], minio.ACCESS_KEY, minio.SECRET_KEY, home / "minio/data")
    return Lab(home / "admin.kubeconfig", server, home)


def elsewhere(kubeconfig: Path) -> Lab:
    """Somebody else's cluster, where the chart is installed and storage is as the AWS variables say."""
    keys = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    return Lab(kubeconfig, S3Server(os.environ["AWS_ENDPOINT_URL"], *keys, Path("/nonexistent")), None)


def _make_room() -> None:
    """End the lab of test processes that were killed; raise for one that is in use."""
    if not RECORD.exists():
        return
    stored = json.loads(RECORD.read_text())
    home, owner = Path(stored["home"]), stored["owner"]
    if (home / plane.PORT_FILE).exists() and (not owner or Path(f"/proc/{owner}").exists()):
        raise RuntimeError(f"a test cluster is up in {home}: `python -m tests.cluster down {home}` ends it")
    down(home)


def down(home: Path) -> None:
    """End all of it, and remove its files."""
    if (home / plane.PORT_FILE).exists():
        started = Plane.at(home)
        for number in (1, 2):
            if (home / f"node{number}").exists():
                Node(started, number).stop()
        started.parts.kill()
    shutil.rmtree(home, ignore_errors=True)
    RECORD.unlink(missing_ok=True)


@contextmanager
def shared(folder: Path) -> Iterator[Lab]:
    """The lab of all processes that name the same `folder`: the first brings it up, the last takes it down."""
    folder.mkdir(parents=True, exist_ok=True)
    home, users = folder / "cluster", folder / "users"
    with _locked(folder):
        count = int(users.read_text()) if users.exists() else 0
        lab = at(home) if count else up(home, _owner())
        users.write_text(str(count + 1))
    try:
        yield lab
    finally:
        with _locked(folder):
            count = int(users.read_text()) - 1
            users.write_text(str(count))
            if count == 0:
                down(home)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start_storage(started: Plane) -> None:
    (port,) = free_ports(1)
    server = minio.make_server(started.home / "minio", f"{NODE_IP}:{port}")
    started.parts.start("minio", *minio.command_of(server), env=minio.environment())
    started.parts.wait("MinIO answers", lambda: minio.is_ready(server))
    (started.home / STORAGE).write_text(json.dumps({"endpoint": server.endpoint}))


def _install(lab: Lab) -> None:
    lab.kubectl("create", "namespace", SYSTEM)
    lab.kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
    install(lab, "finetune-operator", SYSTEM)


def install(lab: Lab, release: str, namespace: str, *values: str) -> None:
    """`helm upgrade --install` of the chart with the images that were built; `values` are KEY=VALUE."""
    given = list(values)
    for key, image in (("image", images.OPERATOR), ("trainer.image", images.TRAINER)):
        repository, _, tag = image.rpartition(":")
        given += [f"{key}.repository={repository}", f"{key}.tag={tag}"]
    sets = [word for value in given for word in ("--set", value)]
    command = [str(helm()), "upgrade", "--install", release, str(CHART), "-n", namespace, "--wait", "--timeout", "2m"]
    try:
        _run(*command, *sets, kubeconfig=lab.kubeconfig)
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{lab.kubectl('get', 'pods,events', '-n', namespace)}") from error


def _run(*command: str, kubeconfig: Path, stdin: str | None = None) -> str:
    env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr}")
    return done.stdout


def _owner() -> int:
    """The process that lives as long as the test run."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
