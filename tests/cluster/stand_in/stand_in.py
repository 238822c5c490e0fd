"""A trainer that trains nothing: it speaks to the operator as the real one does, and ends as it is told to.

The variable STAND_IN holds what it does (Script, as JSON). GET /end?script=JSON with the same keys changes that and
ends it at once. It needs the standard library alone.
"""

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any
from urllib.parse import parse_qs

LINGER_S = 10.0
STOPPED, STEPS_A_SECOND, CHECKPOINT_EVERY = 75, 10, 10
REASONS = {
    0: "Succeeded",
    64: "InvalidSpec",
    65: "DataInvalid",
    69: "StorageUnavailable",
    70: "TrainerError",
    71: "Diverged",
    74: "Hung",
    STOPPED: "Stopped",
    76: "GpuUnavailable",
    77: "StorageDenied",
    78: "OutputInUse",
    79: "OutOfGpuMemory",
    80: "GateNotMet",
}
Json = dict[str, Any]


@dataclass(frozen=True)
class Script:
    """What the stand-in does."""

    run_s: float | None = None
    """How long it works; None: until it is told to end."""
    exit: int = 0
    """Its exit code; with one that is none of the trainer's it says nothing at its end."""
    reason: str = ""
    """Empty: the code's."""
    message: str = "the stand-in ends as it was told to"
    """What it says at its end."""
    crash: str = ""
    """Ends with a traceback of this message, exit code 1, and says nothing."""
    save_s: float = 0.0
    """How long it saves after SIGTERM."""
    ignore_sigterm: bool = False
    """As a process that hangs."""


class StandIn:
    """One pod's work."""

    def __init__(self, order: Json, script: Script) -> None:
        self.order = order
        self.script = script
        self.over = self.stopped = self.told_end = False  # plain values: a signal's handler may not wait for a lock
        self.ended: Json | None = None
        self.began = time.monotonic()

    def work(self) -> Json:
        """Until the script or SIGTERM ends it; what is said of it."""
        self._wait(lambda: self.over, self.script.run_s)
        if self.stopped:
            time.sleep(self.script.save_s)
            self.ended = self._said(STOPPED, "Stopped", "stopped and saved")
        else:
            code = self.script.exit
            self.ended = self._said(code, self.script.reason or REASONS.get(code, ""), self.script.message)
        return self.ended

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """SIGTERM's handler."""
        if not self.script.ignore_sigterm:
            self.stopped = self.told_end = self.over = True

    def end(self, changes: Json) -> None:
        """End now, as `changes` say."""
        self.script = replace(self.script, **changes)
        self.over = True

    def linger(self) -> None:
        """Until the end was asked for once, for ten seconds at most."""
        self._wait(lambda: self.told_end, LINGER_S)

    @staticmethod
    def _wait(reached: Callable[[], bool], seconds: float | None) -> None:
        deadline = time.monotonic() + seconds if seconds is not None else math.inf
        while not reached() and time.monotonic() < deadline:
            time.sleep(0.05)

    def step(self) -> int:
        """Updates done."""
        return int((time.monotonic() - self.began) * STEPS_A_SECOND)

    def report(self) -> Json:
        """GET /progress."""
        step = self.step()
        total = int((self.script.run_s or 1000) * STEPS_A_SECOND)
        at = datetime.now(UTC).isoformat()
        progress = {
            "stage": "train",
            "epoch": step / 100,
            "step": step,
            "totalSteps": total,
            "percent": min(100.0, 100 * step / max(1, total)),
            "loss": 1.0 / (1 + step),
            "samplesPerSecond": 160.0,
            "etaSeconds": max(0.0, (total - step) / STEPS_A_SECOND),
            "updatedAt": at,
        }
        report = {"version": 1, "runUid": self.order["uid"], "progress": progress, "at": at}
        report |= {"metric": "image_retrieval_recall@5", "before": 0.5}
        report |= {"checkpoint": checkpoint} if (checkpoint := self._checkpoint()) else {}
        return report | ({"ended": self.ended} if self.ended else {})

    def _checkpoint(self) -> Json | None:
        step = self.step() // CHECKPOINT_EVERY * CHECKPOINT_EVERY
        return {"step": step, "uri": f"{self._output()}/checkpoints/step-{step}"} if step else None

    def _said(self, code: int, reason: str, message: str) -> Json:
        said: Json = {"version": 1, "reason": reason, "message": message, "exitCode": code, "step": self.step()}
        return said | ({"result": self._result()} if code in (0, 80) else {})

    def _result(self) -> Json:
        evaluation = {
            "metric": "image_retrieval_recall@5",
            "before": 0.5,
            "after": 0.6,
            "gain": 0.1,
            "interval95": [0.05, 0.15],
            "verdict": "Improved",
        }
        artifacts = {"model": "model/", "report": "report.html", "result": "result.json"}
        return {
            "evaluation": evaluation,
            "artifacts": {name: f"{self._output()}/{place}" for name, place in artifacts.items()},
        }

    def _output(self) -> str:
        uri: str = self.order["spec"]["output"]["uri"]
        return uri.rstrip("/")


def serve(port: int, stand_in: StandIn) -> ThreadingHTTPServer:
    """The trainer's three paths, and the test's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/progress":
                report = stand_in.report()
                self._answer(200, "application/json", json.dumps(report))
                if "ended" in report:
                    stand_in.told_end = True
            elif self.path == "/metrics":
                kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
                help_, value = "# HELP finetune_step Optimizer updates done.", f"finetune_step {float(stand_in.step())}"
                self._answer(200, kind, f"# TYPE finetune_step gauge\n{help_}\n{value}\n# EOF\n")
            elif self.path == "/healthz":
                self._answer(200, "text/plain", "ok\n")
            elif self.path.startswith("/end?"):
                changes = json.loads(parse_qs(self.path.removeprefix("/end?"))["script"][0])
                self._answer(200, "application/json", "{}")  # before it ends
                stand_in.end(changes)
            else:
                self._answer(404, "text/plain", "no such path\n")

        def _answer(self, code: int, kind: str, text: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Polls are no news."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> int:
    """Work, write the termination message, linger; the exit code."""
    stand_in = StandIn(json.loads(os.environ["FINETUNE_RUN"]), Script(**json.loads(os.environ.get("STAND_IN", "{}"))))
    signal.signal(signal.SIGTERM, stand_in.stop)
    serve(int(os.environ.get("FINETUNE_PORT", "8080")), stand_in)
    print(json.dumps({"event": "stand-in-works", "attempt": stand_in.order["attempt"]}), file=sys.stderr)
    said = stand_in.work()
    if stand_in.script.crash and not stand_in.stopped:
        raise RuntimeError(stand_in.script.crash)
    if said["reason"]:
        with open(os.environ.get("FINETUNE_TERMINATION_LOG", "/dev/termination-log"), "w") as file:  # noqa: PTH123
            json.dump(said, file)
        stand_in.linger()
    code: int = said["exitCode"]
    return code


if __name__ == "__main__":
    sys.exit(main())
