"""Servers that tests start: on loopback, awaited by what they answer, ended with their test."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import urllib3

_PAUSE = 0.05
"""Seconds between two looks at a condition."""


def free_ports(count: int, below: int = 50_000) -> list[int]:
    """Ports that nobody listens on now, under the range from which the kernel gives out others where possible."""
    with_sockets = [socket.socket() for _ in range(count * 8)]
    try:
        for each in with_sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in with_sockets]
    finally:
        for each in with_sockets:
            each.close()
    return sorted(ports, key=lambda port: port >= below)[:count]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Raises TimeoutError, naming `what`, if the condition does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(_PAUSE)


def answers(url: str, ca_file: Path | None = None) -> bool:
    """Whether a GET is answered with 200."""
    ca_certs = str(ca_file) if ca_file else None
    with urllib3.PoolManager(retries=False, timeout=2.0, ca_certs=ca_certs) as http:
        try:
            return http.request("GET", url).status == 200
        except urllib3.exceptions.HTTPError:
            return False


@contextmanager
def running(
    command: Sequence[str | Path], ready: Callable[[], bool], log: Path, env: Mapping[str, str], seconds: float = 60.0
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process, once it is `ready`; its output goes to `log`, whose end is told if it does not get so far."""
    # So that none outlives tests that were killed; where there is no such program they may.
    tied = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    with log.open("ab") as output:
        process = subprocess.Popen([*tied, *command], stdout=output, stderr=subprocess.STDOUT, env=dict(env))
    try:
        wait_until(lambda: process.poll() is not None or ready(), f"{command[0]} ready", seconds)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        yield process
    finally:
        process.kill()  # nobody needs what it holds, and SeaweedFS takes 20 s to end in order
        process.wait()
