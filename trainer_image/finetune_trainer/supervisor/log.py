"""The pod's log: structlog events as JSON lines on stderr."""

import sys
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

Log = structlog.typing.FilteringBoundLogger
Event = MutableMapping[str, Any]


TAIL_LINES = 2000
"""That are kept for storage: a few hundred kilobytes."""


class Tail:
    """The log's last lines."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, _logger: object, _method: str, line: Any) -> Any:
        """A structlog processor, the last: it gets the line as it is written, and passes it on."""
        self._lines.append(line)
        return line

    def content(self) -> bytes:
        """The kept lines, the oldest first."""
        return "".join(f"{line}\n" for line in self._lines).encode("utf-8", "replace")


def logger(run: str, namespace: str, step: Callable[[], int | None] = lambda: None, tail: Tail | None = None) -> Log:
    """A logger whose events carry the run, and the step that it has reached; what it writes is kept in `tail`."""

    def with_step(_logger: object, _method: str, event: Event) -> Event:
        if (reached := step()) is not None:
            event.setdefault("step", reached)
        return event

    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", key="time"),
        with_step,
        structlog.processors.JSONRenderer(ensure_ascii=False),
        (tail or Tail()).add,
    ]
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(0),
        run=run,
        namespace=namespace,
    )
    return log
