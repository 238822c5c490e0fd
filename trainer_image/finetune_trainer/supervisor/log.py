"""The pod's log: structlog events as JSON lines on stderr."""

import sys

import structlog

Log = structlog.typing.FilteringBoundLogger


def logger(run: str, namespace: str) -> Log:
    """A logger whose events carry the run."""
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", key="time"),
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
