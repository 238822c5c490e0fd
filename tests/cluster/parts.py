"""Processes of a cluster: each with a log and a pid file in the cluster's home, so that anybody can end them."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class Parts:
    """The processes below one folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._started: list[subprocess.Popen[bytes]] = []
        (home / "logs").mkdir(parents=True, exist_ok=True)

    def start(self, name: str, program: Path | str, *arguments: str | Path) -> None:
        """Start one in the background."""
        with (self.home / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(program), *map(str, arguments)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._started.append(process)
        (self.home / f"{name}.pid").write_text(str(process.pid))

    def kill(self, ending: str = "") -> None:
        """End those whose name ends so; all for ''."""
        for path in self.home.glob(f"*{ending}.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGKILL)
            path.unlink()
        if not ending:
            for process in self._started:
                process.wait()

    def wait(self, what: str, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until `ready`; what cannot be reached yet is not ready. Raises TimeoutError with the log's folder."""
        deadline = time.monotonic() + seconds
        while not self._is(ready):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} is not ready after {seconds:g} s: see {self.home}/logs")
            time.sleep(0.1)

    @staticmethod
    def _is(ready: Callable[[], bool]) -> bool:
        try:
            return ready()
        except OSError:
            return False
