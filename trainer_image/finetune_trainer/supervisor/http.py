"""GET /progress, /metrics and /healthz on port 8080."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from finetune_sdk.api.status import RunProgress
from finetune_sdk.contract import HEALTH_PATH, METRICS_PATH, PROGRESS_PATH, ProgressReport

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_GAUGES: dict[str, tuple[str, Callable[[RunProgress], float | None]]] = {
    "finetune_step": ("Optimizer updates done.", lambda progress: progress.step),
    "finetune_steps_planned": ("Optimizer updates planned.", lambda progress: progress.total_steps),
    "finetune_stage_percent": ("Of the present stage.", lambda progress: progress.percent),
    "finetune_epoch": ("How often the data was seen.", lambda progress: progress.epoch),
    "finetune_loss": ("Of the last step.", lambda progress: progress.loss),
    "finetune_samples_per_second": ("Pairs a second over all devices.", lambda progress: progress.samples_per_second),
    "finetune_eta_seconds": ("Until the present stage ends.", lambda progress: progress.eta_seconds),
}


def serve(port: int, report: Callable[[], ProgressReport], told_end: threading.Event) -> ThreadingHTTPServer:
    """Listen in the background; `told_end` is set once an answer has carried the run's end.

    Raises OSError where the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        server_version = "finetune-trainer"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:  # the name that the standard library calls
            path = self.path.partition("?")[0]
            if path == PROGRESS_PATH:
                found = report()
                self._answer(200, "application/json", found.model_dump_json(by_alias=True, exclude_none=True))
                if found.ended is not None:
                    told_end.set()
            elif path == METRICS_PATH:
                self._answer(200, OPEN_METRICS, open_metrics(report()))
            elif path == HEALTH_PATH:
                self._answer(200, "text/plain", "ok\n")
            else:
                self._answer(404, "text/plain", f"there are {PROGRESS_PATH}, {METRICS_PATH} and {HEALTH_PATH}\n")

        def _answer(self, code: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Polls every ten seconds are no news."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

    server: ThreadingHTTPServer = Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server


def open_metrics(report: ProgressReport) -> str:
    """The report as OpenMetrics 1.0 text."""
    lines = []
    if report.progress is not None:
        for name, (text, value_of) in _GAUGES.items():
            value = value_of(report.progress)
            if value is not None:
                lines += [f"# TYPE {name} gauge", f"# HELP {name} {text}", f"{name} {float(value)!r}"]
        lines += [
            "# TYPE finetune_stage stateset",
            "# HELP finetune_stage The present stage.",
            f'finetune_stage{{finetune_stage="{report.progress.stage}"}} 1',
        ]
    return "\n".join([*lines, "# EOF"]) + "\n"
