"""Processes of a cluster: each with a log and a pid file in the cluster's home, so that anybody can end them."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

END_SECONDS = 20.0
LOG_TAIL = 1500
"""Characters of each log that an error repeats."""


class Parts:
    """The processes below one folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "logs").mkdir(parents=True, exist_ok=True)

    def start(
        self, name: str, program: Path | str, *arguments: str | Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Start one in the background; it outlives this process."""
        with (self.home / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(program), *map(str, arguments)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=env,
            )
        (self.home / f"{name}.pid").write_text(f"{process.pid} {_began(process.pid)}")
        process.returncode = 0  # ended by its pid file, maybe by another process: nobody waits for this object

    def pid(self, name: str) -> int:
        """Of one that was started."""
        return int((self.home / f"{name}.pid").read_text().split()[0])

    def kill(self, ending: str = "") -> None:
        """End those whose name ends so, all for '', and wait until they are gone."""
        ended = []
        for path in self.home.glob(f"*{ending}.pid"):
            pid, began = map(int, path.read_text().split())
            if _began(pid) == began:  # of a cluster long gone, somebody else's may have that number by now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                ended.append(pid)
            path.unlink()
        self.wait(f"the end of {ended}", lambda: not any(map(_lives, ended)), END_SECONDS)

    def wait(self, what: str, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until `ready`; what cannot be reached yet is not ready. Raises TimeoutError with the ends of the logs."""
        deadline = time.monotonic() + seconds
        while not self._is(ready):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:g} s: {what}\n{self.told()}")
            time.sleep(0.1)

    def told(self) -> str:
        """The ends of all logs."""
        logs = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-LOG_TAIL:]}" for log in logs)

    @staticmethod
    def _is(ready: Callable[[], bool]) -> bool:
        try:
            return ready()
        except OSError:
            return False


def _lives(pid: int) -> bool:
    """Whether a process still holds anything; one of our own that has ended is taken leave of."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    stat = _stat(pid)
    # Where threads are still on their way out, their first one is a zombie and the process's ports are taken.
    return bool(stat) and not (stat[0] == "Z" and int(stat[17]) <= 1)


def _began(pid: int) -> int:
    """When a process was started, in clock ticks since the machine was; 0 where it is gone."""
    stat = _stat(pid)
    return int(stat[19]) if stat else 0


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s stat from the third, the state, on; empty where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
