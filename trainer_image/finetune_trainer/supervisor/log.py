"""The pod's log: structlog events as JSON lines on stderr."""

import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

Log = structlog.typing.FilteringBoundLogger
Event = MutableMapping[str, Any]


def logger(run: str, namespace: str, step: Callable[[], int | None] = lambda: None) -> Log:
    """A logger whose events carry the run, and the step that it has reached."""

    def with_step(_logger: object, _method: str, event: Event) -> Event:
        if (reached := step()) is not None:
            event.setdefault("step", reached)
        return event

    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", key="time"),
        with_step,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(0),
        run=run,
        namespace=namespace,
    )
    return log
