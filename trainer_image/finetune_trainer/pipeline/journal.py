"""progress.json: how far a run is, over all its attempts; what `finetune status` reads of a run that is not done."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from pydantic import Field

from finetune_sdk.api.base import Schema
from finetune_sdk.errors import FinetuneError
from finetune_sdk.storage import Store
from finetune_trainer.pipeline.documents import read_document, write_document
from finetune_trainer.pipeline.layout import PROGRESS

STAGES = ("prepare", "baseline", "train", "select", "evaluate", "export", "report")


class Failure(Schema):
    """Why the last attempt ended early."""

    reason: str
    message: str
    exit_code: int
    at: datetime


class RunProgress(Schema):
    """progress.json."""

    attempts: int = 0
    stage: str = "prepare"
    """The stage that is running or ran last."""
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by stage, over all attempts."""
    notes: list[str] = Field(default_factory=list)
    """What the user should know, each once."""
    failure: Failure | None = None
    updated_at: datetime


class Journal:
    """Keeps progress.json; times are measured by `clock`, and `guard` raises once another process owns the output."""

    def __init__(
        self, store: Store, clock: Callable[[], datetime], tell: Callable[[str], None], guard: Callable[[], None]
    ) -> None:
        self._store = store
        self._guard = guard
        self._clock = clock
        self._tell = tell
        previous = read_document(store, PROGRESS, RunProgress) or RunProgress(updated_at=clock())
        self._reached = previous.stage
        self.progress = previous.model_copy(update={"attempts": previous.attempts + 1, "failure": None})

    def was_done(self, stage: str) -> bool:
        """Whether an earlier attempt had gone on to a later stage than this."""
        return STAGES.index(self._reached) > STAGES.index(stage)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record that `name` runs, and its time once the block is left, by an error too."""
        started = self._clock()
        self._save(stage=name)
        try:
            yield
        finally:
            seconds = (self._clock() - started).total_seconds()
            timings = self.progress.timings
            timings = timings | {name: round(timings.get(name, 0.0) + seconds, 3)}
            self.progress = self.progress.model_copy(update={"timings": timings})

    def note(self, message: str) -> None:
        """Tell the user something, now and in the report; each sentence once."""
        self.keep([message])
        self._tell(message)

    def keep(self, messages: Sequence[str]) -> None:
        """Put into the report what the user was told already; each sentence once."""
        new = [message for message in dict.fromkeys(messages) if message not in self.progress.notes]
        self.progress = self.progress.model_copy(update={"notes": [*self.progress.notes, *new]})

    def fail(self, error: FinetuneError) -> None:
        """Record why this attempt ends."""
        failure = Failure(reason=error.reason, message=str(error), exit_code=error.exit_code, at=self._clock())
        self._save(failure=failure)

    def done(self) -> None:
        """Record that nothing is left to do."""
        self._save(stage=STAGES[-1])

    def _save(self, **changes: object) -> None:
        self.progress = self.progress.model_copy(update={**changes, "updated_at": self._clock()})
        self._guard()
        write_document(self._store, PROGRESS, self.progress)
