"""GET /progress, /metrics and /healthz on port 8080, for whoever may reach the pod: nothing there may stop training."""

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, get_args

from finetune_sdk.api.status import ProgressStage, RunProgress
from finetune_sdk.contract import HEALTH_PATH, METRICS_PATH, PROGRESS_PATH, ProgressReport

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
MOST_CONNECTIONS = 64
"""At once; one more ends the oldest, so that slow clients keep nobody out."""
SILENCE_SECONDS = 10.0
"""That a client may leave between two bytes."""
_GAUGES: dict[str, tuple[str, Callable[[RunProgress], float | None]]] = {
    "finetune_step": ("Optimizer updates done.", lambda progress: progress.step),
    "finetune_steps_planned": ("Optimizer updates planned.", lambda progress: progress.total_steps),
    "finetune_stage_percent": ("Of the present stage.", lambda progress: progress.percent),
    "finetune_epoch": ("How often the data was seen.", lambda progress: progress.epoch),
    "finetune_loss": ("Of the last step.", lambda progress: progress.loss),
    "finetune_samples_per_second": ("Pairs a second over all devices.", lambda progress: progress.samples_per_second),
    "finetune_eta_seconds": ("Until the present stage ends.", lambda progress: progress.eta_seconds),
}


def serve(
    port: int, report: Callable[[], ProgressReport], told_end: Callable[[], None], failed: Callable[[str], None]
) -> "Server":
    """Listen in the background, on IPv6 and IPv4 where both are there.

    `told_end` is called once an answer has carried the run's end, `failed` with what went wrong in an answer; both from
    other threads. Raises OSError where the port is taken.
    """
    server = _bound(port, report, told_end, failed)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server


def _bound(port: int, *parts: Any) -> "Server":
    if socket.has_dualstack_ipv6():
        try:
            return Server(socket.AF_INET6, port, *parts)
        except OSError:  # compiled in and switched off, or the port is taken: IPv4 says which
            pass
    return Server(socket.AF_INET, port, *parts)


class Server(ThreadingHTTPServer):
    """A thread a connection, of which the newest stay."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        family: socket.AddressFamily,
        port: int,
        report: Callable[[], ProgressReport],
        told_end: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self.address_family = family
        self.report, self.told_end, self._failed = report, told_end, failed
        self._open: dict[Any, None] = {}
        self._open_lock = threading.Lock()
        super().__init__(("", port), Handler)

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of the host's name, which may wait for a name server."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread of its own; above the bound the oldest connection is ended for it."""
        with self._open_lock:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > MOST_CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
        if oldest is not None:
            with suppress(OSError):  # its thread meets the end of the stream and closes it
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection."""
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base's arguments
        """A client that went away is no news; anything else is told."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self._failed(f"{type(error).__name__}: {error}")


class Handler(BaseHTTPRequestHandler):
    """One connection, one answer."""

    server: Server
    server_version = "finetune-trainer"
    sys_version = ""
    timeout = SILENCE_SECONDS
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"

    def do_GET(self) -> None:  # the name that the standard library calls
        path = self.path.partition("?")[0]
        if path == PROGRESS_PATH:
            found = self.server.report()
            self._answer(200, "application/json", found.model_dump_json(by_alias=True, exclude_none=True))
            if found.ended is not None and self.command == "GET":
                self.server.told_end()
        elif path == METRICS_PATH:
            self._answer(200, OPEN_METRICS, open_metrics(self.server.report()))
        elif path == HEALTH_PATH:
            self._answer(200, "text/plain", "ok\n")
        else:
            self._answer(404, "text/plain", f"there are {PROGRESS_PATH}, {METRICS_PATH} and {HEALTH_PATH}\n")

    do_HEAD = do_GET  # noqa: N815 - as above

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Polls every ten seconds are no news."""


def open_metrics(report: ProgressReport) -> str:
    """The report as OpenMetrics 1.0 text."""
    lines = []
    if report.progress is not None:
        for name, (text, value_of) in _GAUGES.items():
            value = value_of(report.progress)
            if value is not None:
                lines += [f"# TYPE {name} gauge", f"# HELP {name} {text}", f"{name} {float(value)!r}"]
        lines += ["# TYPE finetune_stage stateset", "# HELP finetune_stage The present stage."]
        lines += [
            f'finetune_stage{{finetune_stage="{stage}"}} {int(stage == report.progress.stage)}'
            for stage in get_args(ProgressStage)
        ]
    return "\n".join([*lines, "# EOF"]) + "\n"
