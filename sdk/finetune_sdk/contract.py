"""What the operator and a trainer's pod tell each other: names, paths, and documents. Both sides read these types.

    operator -> pod     FINETUNE_RUN, the whole order as one canonical JSON (RunOrder); the storage Secret as files
    pod -> operator     GET /progress (ProgressReport); the termination message (Termination); the exit code

Documents carry a version; a reader ignores keys that it does not know, so that either side may be the newer one.
"""

import bisect
import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field

from finetune_sdk.api.base import Schema
from finetune_sdk.api.status import Artifacts, CheckpointRef, RunEvaluation, RunProgress

RUN_VARIABLE = "FINETUNE_RUN"
"""Holds the RunOrder."""
MAX_ORDER_BYTES = 64 * 1024
"""Of FINETUNE_RUN: half of what Linux lets one variable hold (MAX_ARG_STRLEN, 128 KiB)."""
POD_UID_VARIABLE = "FINETUNE_POD_UID"
"""The pod's uid by the downward API: the process's name in owner.json."""
CACHE_BYTES_VARIABLE = "FINETUNE_CACHE_BYTES"
"""The most bytes that the cache may take: what the pod's scratch disk may hold, by the downward API."""

CONTAINER = "trainer"
"""The container that podFailurePolicy, exit codes and messages are read of."""
PORT = 8080
PROGRESS_PATH, METRICS_PATH, HEALTH_PATH = "/progress", "/metrics", "/healthz"
LINGER_SECONDS = 10.0
"""How long a finished trainer still serves /progress with its result."""

CREDENTIALS_FOLDER = "/var/run/finetune/storage"
"""The storage Secret, mounted as files."""
SCRATCH_FOLDER = "/scratch"
"""An emptyDir: TMPDIR, HOME and FINETUNE_CACHE lie below it; all else of the root is read-only."""
TERMINATION_PATH = "/dev/termination-log"
TERMINATION_BYTES = 4096
"""The kubelet keeps no more, and of more only the tail."""

RUN_LABEL = "finetune.dev/run"
"""On Jobs and pods: the run's name."""
RUN_UID_LABEL = "finetune.dev/run-uid"
"""On Jobs and pods: the run's uid."""
MANAGED_BY_LABEL, MANAGED_BY = "app.kubernetes.io/managed-by", "finetune-operator"
DEFAULT_SECRET = "finetune-storage"  # noqa: S105 - a name
"""The namespace's default storage Secret."""


class Message(Schema):
    """A document between parts that may be of different versions."""

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """The document. A figure that is infinite or no number is none: JSON knows neither, nor does the API server.

        Raises:
            ValueError: it is no such document.
        """
        return cls.model_validate_json(cls.model_validate_json(text).model_dump_json(by_alias=True))


class RunOrder(Message):
    """What a pod is to do: the value of FINETUNE_RUN."""

    version: Literal[1] = 1
    name: str
    namespace: str
    uid: str
    """The run's uid."""
    attempt: Annotated[int, Field(ge=1)] = 1
    """Counts the Jobs made for this run: 1 for the first."""
    spec: dict[str, Any]
    """FinetuneRunSpec as JSON; of `compute` only what the trainer reads, so that the whole keeps its bound."""


class Ended(Message):
    """The figures of a run that is complete."""

    evaluation: RunEvaluation
    artifacts: Artifacts
    checkpoint: CheckpointRef | None = None


def _readable(text: object) -> object:
    """Text without what is no text: a file's name may hold any bytes."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


class Termination(Message):
    """The termination message: at most 4096 bytes of JSON, by construction."""

    version: Literal[1] = 1
    reason: str
    """Of errors.py (`Stopped` too); Succeeded or NoGain for exit code 0."""
    message: Annotated[str, BeforeValidator(_readable)]
    """One sentence or more for a person; shortened in its middle where it would not fit."""
    exit_code: int
    step: int | None = None
    """Optimizer updates done."""
    result: Ended | None = None

    def to_bytes(self, limit: int = TERMINATION_BYTES) -> bytes:
        """JSON of at most `limit` bytes (1000 at least): the message's middle goes first, then the result's places."""
        result = self.result
        if result is not None and len(self._json("", result)) > limit:
            result = result.model_copy(update={"artifacts": Artifacts(), "checkpoint": None})

        def is_too_long(kept: int) -> bool:
            return len(self._json(_shortened(self.message, kept), result)) > limit

        # How many bytes a character takes depends on the character: the most that fit are searched for.
        kept = bisect.bisect_left(range(1, len(self.message) + 1), True, key=is_too_long)
        return self._json(_shortened(self.message, kept), result)

    def bounded(self) -> Self:
        """What a reader of `to_bytes` gets: short enough for /progress as well."""
        return self.model_validate_json(self.to_bytes())

    def to_document(self, limit: int = TERMINATION_BYTES) -> dict[str, Any]:
        """The same as keys and values."""
        document: dict[str, Any] = json.loads(self.to_bytes(limit))
        return document

    def _json(self, message: str, result: Ended | None) -> bytes:
        shortened = self.model_copy(update={"message": message, "result": result})
        return shortened.model_dump_json(by_alias=True, exclude_none=True).encode()

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The message in `text`, also where it is the last line of a log; None where there is none."""
        last = text.strip().rpartition("\n")[2]
        try:
            return cls.read(last)
        except ValueError:
            return None


def _shortened(text: str, kept: int) -> str:
    """`text` with only `kept` of its characters, from both its ends."""
    if kept >= len(text):
        return text
    head = kept // 2
    return f"{text[:head]} ... {text[len(text) - (kept - head) :]}" if kept else ""


class ProgressReport(Message):
    """GET /progress."""

    version: Literal[1] = 1
    run_uid: str
    progress: RunProgress | None = None
    """None before the first stage."""
    checkpoint: CheckpointRef | None = None
    before: float | None = None
    """The headline metric of the base model, once measured."""
    metric: str | None = None
    ended: Termination | None = None
    """Set once the pipeline is over, while the trainer lingers."""
    at: datetime
