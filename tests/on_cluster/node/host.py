"""The node from beneath: processes of a pod's containers, which only root of the machine can reach."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.on_cluster.conftest import Json


def processes(pod: Json, part: str = "") -> list[int]:
    """Process ids of a pod with `part` in their command line, the oldest first; the pause container's too where ''."""
    mark = f"pod{pod['metadata']['uid']}"
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _is_of(entry, mark)]
    return sorted(pid for pid in found if part in _command(pid))


def send(pod: Json, number: signal.Signals, part: str) -> None:
    """Send a signal to each of a pod's processes with `part` in their command line."""
    found = processes(pod, part)
    assert found, f"no process of {pod['metadata']['name']} has {part!r} in its command"
    for pid in found:
        os.kill(pid, number)


@contextmanager
def unreachable(pod: Json, port: int) -> Iterator[None]:
    """Drop what comes to a port of the pod from outside of it, until the end of the block."""
    pid = processes(pod)[0]
    rule = ["INPUT", "!", "-i", "lo", "-p", "tcp", "--dport", str(port), "-j", "DROP"]
    inside = ["nsenter", "-t", str(pid), "-n", "iptables"]
    subprocess.run([*inside, "-A", *rule], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "-D", *rule], check=False, capture_output=True)  # the pod may be gone


def _is_of(entry: Path, mark: str) -> bool:
    try:
        return mark in (entry / "cgroup").read_text()
    except OSError:  # it ended
        return False


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
