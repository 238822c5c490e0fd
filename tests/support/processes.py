"""Servers that tests start: on loopback, awaited by what they answer, ended with their test."""

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import urllib3

_FIRST_PORT, _LAST_PORT = 12_000, 30_000
"""Kubernetes has some below for itself, and those above for NodePorts."""
_PAUSE = 0.05
"""Seconds between two looks at a condition."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below those that the kernel gives to connections.

    So a server may be stopped and started again on its port: no client has taken it meanwhile.
    """
    ports = []
    for port in random.SystemRandom().sample(range(_FIRST_PORT, min(_LAST_PORT, _first_of_connections())), 20 * count):
        with suppress(OSError), socket.socket() as tried:
            tried.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"no {count} free ports")


def _first_of_connections() -> int:
    setting = Path("/proc/sys/net/ipv4/ip_local_port_range")
    return int(setting.read_text().split()[0]) if setting.exists() else 32_768


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
