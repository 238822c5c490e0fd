"""The trackers outside that the environment asks for, each with a process of its own that is never waited for long."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec

from finetune_trainer.tracking.points import Point
from finetune_trainer.tracking.sinks import TrackedRun

PATIENCE_SECONDS = 60.0
"""For a tracker to take the last figures, once the run's result is stored."""
SHORT_PATIENCE_SECONDS = 5.0
"""Where it has failed before, or the attempt ended early: a pod that was asked to stop has little time."""
QUIET = {
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""What packages are told where the environment does not say it: send no reports about themselves, give up in time."""


@dataclass(frozen=True)
class Tracker:
    """A tracker and the variable that asks for it."""

    package: str
    title: str
    variable: str

    @property
    def installed(self) -> bool:
        """Whether its package is; a folder of that name in the working directory is none."""
        spec = find_spec(self.package)
        return spec is not None and spec.origin is not None


def asked_for(env: Mapping[str, str]) -> list[Tracker]:
    """The trackers that `env` asks for."""
    found = []
    wandb = next((name for name in ("WANDB_API_KEY", "WANDB_MODE") if env.get(name)), None)
    if wandb is not None and env.get("WANDB_MODE") != "disabled":
        found.append(Tracker("wandb", "Weights & Biases", wandb))
    if env.get("MLFLOW_TRACKING_URI"):
        found.append(Tracker("mlflow", "MLflow", "MLFLOW_TRACKING_URI"))
    return found


class Sender:
    """One tracker's process. `tell` is called from any thread, with a sentence for the user, at most once."""

    def __init__(self, tracker: Tracker, run: TrackedRun, env: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._tell = tell
        self._told = threading.Event()
        self._messages: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._messages.put(run.model_dump_json())
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "finetune_trainer.tracking.sender", tracker.package],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**QUIET, **env},
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the run; and its children end with it
        )
        # Daemons: a process that neither reads nor ends must not keep this one alive.
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._write, self._listen)]
        for thread in self._threads:
            thread.start()

    def send(self, points: Sequence[Point], *, complete: bool = False) -> None:
        """Pass points on; returns at once."""
        message = {"points": [asdict(point) for point in points], "complete": complete}
        self._messages.put(json.dumps(message))

    def end(self) -> None:
        """Say that nothing more comes."""
        self._messages.put(None)

    def wait(self, seconds: float) -> None:
        """Wait for the process to have sent all; end it if that takes longer."""
        if self._told.is_set():
            seconds = min(seconds, SHORT_PATIENCE_SECONDS)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._say(f"it did not take the last figures within {seconds:g} s")
            code = 0
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for thread in self._threads:
            thread.join()
        if code != 0:
            self._say(f"its process ended with {code}")

    def _write(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        # A process that ended has said why, or `wait` does.
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            while (message := self._messages.get()) is not None:
                pipe.write(message + "\n")
                pipe.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with self._process.stdout as pipe:
            for line in pipe:
                self._say(line.strip())

    def _say(self, why: str) -> None:
        if self._told.is_set():
            return
        self._told.set()
        title, variable = self._tracker.title, self._tracker.variable
        self._tell(
            f"{variable} is set, but {title} does not take this run's figures ({why}): check the variable and its "
            f"server, or unset it; the run goes on, and its figures are in tensorboard/ and metrics.jsonl"
        )
