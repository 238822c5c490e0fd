"""The edges of a run: environment, clock, storage, and who listens. Everything else takes values."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from finetune_sdk.storage import CredentialsSource, Store, open_store
from finetune_trainer.pipeline.log import NO_LOG, Log
from finetune_trainer.pipeline.stop import StopFlag
from finetune_trainer.progress import Nobody, Progress, Silent, Witness


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def this_process() -> str:
    """Names the process in owner.json."""
    return f"{socket.gethostname()}/{os.getpid()}"


@dataclass(frozen=True)
class World:
    """What a run meets outside itself."""

    env: Mapping[str, str]
    progress: Progress
    credentials: CredentialsSource | None
    cache_root: Path
    """Local disk for decoded pictures and copied weights; may be lost at any time."""
    command: str
    """What the user typed, for messages that say how to go on."""
    clock: Callable[[], datetime] = utc_now
    process: str = field(default_factory=this_process)
    stop: StopFlag = field(default_factory=StopFlag)
    witness: Witness = field(default_factory=Nobody)
    gpus_are_ordered: bool = False
    """In a pod compute.gpusPerNode is an order; on one machine it is a wish."""

    def open(self, uri: str) -> Store:
        """The store of `uri`."""
        return open_store(uri, self.credentials)


class _Beating(Silent):
    """Tells the other that the work goes on, and nothing else: silence is taken for a hang."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner

    def advance(self, amount: int = 1, **figures: float) -> None:  # noqa: ARG002 - whatever it is, it is not shown
        self._inner.advance(0)


class StoppingProgress:
    """Passes everything on, and raises Stopped from the next call after the stop flag is set."""

    def __init__(self, inner: Progress, stop: StopFlag, command: str, log: Log) -> None:
        self._inner = inner
        self._stop = stop
        self._command = command
        self._log = log

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        self._check()
        self._log.info("stage", stage=stage, total=total, unit=unit, done=done)
        self._inner.start(stage, total, unit, done)

    def advance(self, amount: int = 1, **figures: float) -> None:
        self._check()
        self._inner.advance(amount, **figures)

    def note(self, message: str) -> None:
        self._log.info("note", message=message)
        self._inner.note(message)

    def quiet(self) -> "StoppingProgress":
        """The same that shows nothing: for work inside a stage that has a bar of its own."""
        return StoppingProgress(_Beating(self._inner), self._stop, self._command, NO_LOG)

    def _check(self) -> None:
        if self._stop.requested:
            raise self._stop.stopped(f"go on with: {self._command}")
