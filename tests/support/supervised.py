"""The trainer as a pod runs it, `finetune-trainer` in a process of its own, met through its public doors alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.contract import PROGRESS_PATH, RUN_VARIABLE, ProgressReport, Termination
from finetune_sdk.order import order_text
from tests.support.processes import free_ports
from tests.support.runs import PATIENCE_S as START_S
from tests.support.runs import environment

TRAINER = [sys.executable, "-m", "finetune_trainer.supervisor.main"]
PATIENCE_S = 4 * START_S
"""How long a run may take to reach a point, or its end, before the test gives up; they take seconds."""
RUN_UID, POD_UID, NAMESPACE = "0000-run", "0000-pod", "here"
NOTHING: Mapping[str, str] = {}
Event = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a pod's container ended."""

    code: int
    message: bytes
    """The termination message."""
    events: list[Event]
    """The log."""

    @property
    def said(self) -> Termination:
        """The termination message, read strictly."""
        return Termination.model_validate_json(self.message, extra="forbid")

    def event(self, name: str) -> Event:
        """The first event of that name."""
        return next(event for event in self.events if event["event"] == name)

    @property
    def output(self) -> str:
        """What the worker printed."""
        return "\n".join(event["line"] for event in self.events if event["event"] == "output")


@dataclass
class Supervised:
    """A running `finetune-trainer`."""

    process: "subprocess.Popen[bytes]"
    port: int
    message: Path
    log: Path

    def get(self, path: str, host: str = "127.0.0.1") -> urllib3.BaseHTTPResponse:
        """One request."""
        return urllib3.request("GET", f"http://{host}:{self.port}{path}", retries=False, timeout=5)

    def report(self) -> ProgressReport | None:
        """What /progress says, read strictly; None while nobody listens."""
        try:
            return ProgressReport.model_validate_json(self.get(PROGRESS_PATH).data, extra="forbid")
        except urllib3.exceptions.HTTPError:
            return None

    def report_when(self, reached: Callable[[ProgressReport], bool]) -> ProgressReport:
        """The first report that is so."""
        found: list[ProgressReport] = []

        def asked() -> bool:
            report = self.report()
            found[:] = [report] if report is not None else []
            return report is not None and reached(report)

        self.wait_until(asked, "a report that is so")
        return found[0]

    def wait_until(self, reached: Callable[[], bool], what: str) -> None:
        """Fails if the process ends before, or the deadline passes."""
        deadline = time.monotonic() + PATIENCE_S
        while not reached():
            assert self.process.poll() is None, f"ended with {self.process.returncode} before {what}: {self.tail()}"
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}: {self.tail()}"
            time.sleep(0.02)

    def events(self) -> list[Event]:
        """The log so far; each of its lines must be a JSON document."""
        whole = self.log.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def tail(self) -> str:
        """The log's end, for a test that failed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def send(self, number: signal.Signals) -> None:
        """To the supervisor."""
        self.process.send_signal(number)

    def worker(self) -> int:
        """The worker's process id."""
        started: list[int] = []

        def is_told() -> bool:
            started[:] = [event["pid"] for event in self.events() if event["event"] == "worker-started"]
            return bool(started)

        self.wait_until(is_told, "its worker is started")
        return started[0]

    def send_worker(self, number: signal.Signals) -> None:
        """To the worker."""
        os.kill(self.worker(), number)

    def end(self) -> Ended:
        """Wait for the end."""
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end: {self.tail()}") from None
        message = self.message.read_bytes() if self.message.exists() else b""
        return Ended(code, message, self.events())


def order_of(run: FinetuneRun) -> str:
    """FINETUNE_RUN of a run."""
    return order_text(name=run.metadata.name, namespace=NAMESPACE, uid=RUN_UID, attempt=1, spec=run.spec)


@contextmanager
def supervised(
    folder: Path,
    order: FinetuneRun | str | None,
    *,
    command: Sequence[str] = TRAINER,
    env: Mapping[str, str] = NOTHING,
) -> Iterator[Supervised]:
    """Start the trainer with a cache, a termination message and a log in `folder`; it is killed at the block's end.

    `order`: FINETUNE_RUN as text or as a run, None: left out. `env`: more variables, over those given anyway.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    message, log = folder / "termination-log", folder / "trainer.log"
    given: Mapping[str, str] = {
        "FINETUNE_PORT": str(port),
        "FINETUNE_TERMINATION_LOG": str(message),
        "FINETUNE_POD_UID": POD_UID,
        "HOME": str(folder),
        "FINETUNE_DEVICE": "cpu",
        **({RUN_VARIABLE: order_of(order) if isinstance(order, FinetuneRun) else order} if order is not None else {}),
    }
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environment(folder, **{**given, **env}), stdout=stream, stderr=stream, cwd=folder
        )
    running = Supervised(process, port, message, log)
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        for event in running.events() if log.exists() else []:
            if event["event"] == "worker-started":
                _kill_group(event["pid"])


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
