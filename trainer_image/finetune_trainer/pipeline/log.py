"""The run's log: structlog events, whose tail is kept under output.uri/logs/ so that it outlives the process."""

import json
import traceback
from collections import deque
from collections.abc import Callable, MutableMapping
from datetime import datetime
from typing import Any

import structlog

Log = structlog.typing.FilteringBoundLogger

TAIL_LINES = 2000
"""Lines of the log that are kept in storage: a few hundred kilobytes."""


class LogTail:
    """The last events of a run, as JSON lines in memory until they are uploaded."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor that keeps each event and passes it on."""
        line = {"time": self._clock().isoformat(timespec="milliseconds"), **event}
        self._lines.append(json.dumps(line, default=str, ensure_ascii=False))
        return event

    def keep_traceback(self, error: BaseException) -> None:
        """Keep where `error` came from: a user sees one sentence, the log has the rest."""
        self({}, "error", {"event": "traceback", "frames": traceback.format_exception(error)})

    def content(self) -> bytes:
        """The kept lines, the oldest first."""
        return "".join(f"{line}\n" for line in self._lines).encode()


def _drop(_logger: object, _method: str, _event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """On one machine a person reads the display; events go to the tail alone."""
    raise structlog.DropEvent


def logger_of(tail: LogTail, run: str) -> Log:
    """A logger whose events carry the run's name and go to `tail`."""
    processors: list[structlog.typing.Processor] = [structlog.processors.add_log_level, tail, _drop]
    logger: Log = structlog.wrap_logger(
        None, processors=processors, wrapper_class=structlog.make_filtering_bound_logger(0), run=run
    )
    return logger


NO_LOG: Log = structlog.wrap_logger(
    None, processors=[_drop], wrapper_class=structlog.make_filtering_bound_logger(0), cache_logger_on_first_use=True
)
"""For work inside a stage, whose log says enough."""
