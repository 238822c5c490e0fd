"""From the worker to the supervisor: one JSON document a line, over a pipe."""

import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the worker is started before pydantic is imported, which takes its time
    from finetune_sdk.contract import Ended

CHANNEL_VARIABLE = "FINETUNE_CHANNEL"
"""The pipe's file descriptor in the worker."""
ALIVE_EVERY = 1.0
"""Seconds between two signs of life that say nothing else."""
Line = dict[str, Any]


class Channel:
    """The worker's end. It is the pipeline's `Progress` and its `Witness`."""

    def __init__(self, descriptor: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._lock = threading.RLock()
        self._waiting: deque[bytes] = deque()
        self._writing = False
        self._told_alive = -ALIVE_EVERY
        self._broken = False

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        """A stage begins."""
        self._send(kind="start", stage=stage, total=total, unit=unit, done=done)

    def advance(self, amount: int = 1, **figures: float) -> None:
        """More units are done."""
        self._send(kind="advance", amount=amount, figures=figures)

    def note(self, message: str) -> None:
        """A sentence for the log."""
        self._send(kind="note", message=message)

    def alive(self) -> None:
        """Something is under way that no stage counts: a request to storage, say."""
        now = self._clock()
        if now - self._told_alive >= ALIVE_EVERY:
            self._told_alive = now
            self._send(kind="alive")

    def measured(self, metric: str, before: float) -> None:
        """The base model's headline figure."""
        self._send(kind="measured", metric=metric, before=before)

    def saved(self, step: int, uri: str) -> None:
        """A whole checkpoint."""
        self._send(kind="saved", step=step, uri=uri)

    def finished(self, reason: str, message: str, result: "Ended") -> None:
        """The run is complete, and its gate is judged."""
        told = result.model_dump(mode="json", by_alias=True)
        self._send(kind="finished", reason=reason, message=message, result=told)

    def failed(self, reason: str, message: str, trace: str = "") -> None:
        """Why this attempt ends; `trace` is for the log."""
        self._send(kind="failed", reason=reason, message=message, trace=trace)

    def _send(self, **line: Any) -> None:
        """Write a line whole. A signal's handler may call this in the midst of a line: its own then follows that."""
        # A file's name may hold bytes that are no text: they become question marks.
        data = json.dumps(line, ensure_ascii=False, allow_nan=True, default=str).encode("utf-8", "replace") + b"\n"
        with self._lock:
            self._waiting.append(data)
            if self._writing:
                return
            self._writing = True
            try:
                while self._waiting:
                    self._write(self._waiting.popleft())
            finally:
                self._writing = False

    def _write(self, data: bytes) -> None:
        while data and not self._broken:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BrokenPipeError:
                # The supervisor was killed (in a pod all ends with it): nobody is left to pass a stop on.
                self._broken = True
                os.kill(os.getpid(), signal.SIGTERM)


class Lines:
    """The supervisor's end: whole lines of what was read so far."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Line]:
        """The documents that `data` completes; what is no document is left out."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        documents = (_document(line) for line in whole)
        return [document for document in documents if document is not None]


def _document(line: bytes) -> Line | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
