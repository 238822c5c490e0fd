"""The run's log: structlog events as JSON lines, whose tail is kept under output.uri/logs/ so that it outlives the process."""

import json
import traceback
from collections import deque
from collections.abc import Callable, MutableMapping
from datetime import datetime
from typing import Any

import structlog

TAIL_LINES = 2000
"""Lines of the log that are kept in storage: some hours of steps, well under a megabyte."""


class LogTail:
    """The last lines of the log, in memory until they are uploaded."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor that keeps each event and passes it on."""
        line = {"time": self._clock().isoformat(timespec="milliseconds"), **event}
        self._lines.append(json.dumps(line, default=str, ensure_ascii=False))
        return event

    def keep_traceback(self, error: BaseException) -> None:
        """Keep where `error` came from: a user sees one sentence, the log has the rest. Values of variables are left out."""
        frames = traceback.format_exception(error)
        self._lines.append(json.dumps({"time": self._clock().isoformat(), "event": "traceback", "frames": frames}))

    def content(self) -> bytes:
        """The kept lines, the oldest first."""
        return "".join(f"{line}\n" for line in self._lines).encode()


def configure(tail: LogTail, output: Callable[[str], None]) -> structlog.typing.FilteringBoundLogger:
    """A logger whose events go to `tail` and, as JSON lines, to `output`."""

    def emit(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        output(json.dumps(event, default=str, ensure_ascii=False))
        raise structlog.DropEvent

    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        None, processors=[structlog.processors.add_log_level, tail, emit], wrapper_class=structlog.BoundLogger
    )
    return logger
