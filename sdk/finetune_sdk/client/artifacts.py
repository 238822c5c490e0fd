"""What a run has left under output.uri: read its report, and delete it where it is provably this run's."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import Field, ValidationError

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client.errors import NoReport, OutputNotOwned
from finetune_sdk.contract import Message
from finetune_sdk.errors import ObjectNotFound
from finetune_sdk.storage import Store

OWNER, RUN, RESULT, REPORT = "owner.json", "run.json", "result.json", "report.html"
FILES = frozenset({OWNER, RUN, RESULT, REPORT, "progress.json", "prepare.json", "select.json", "metrics.jsonl"})
FOLDERS = ("checkpoints/", "metrics/", "evaluation/", "model/", "logs/", "tensorboard/")
"""All that a trainer writes; whatever else lies there was put there by somebody else, and stays."""
_BATCH = 100
"""Objects deleted between two looks at whose the output is."""


class Owner(Message):
    """owner.json: which run's process may write under an output. As the trainer writes it."""

    run: str
    """The run's uid; on one machine its name."""
    process: str
    epoch: Annotated[int, Field(ge=0)]
    """Counts the owners; the highest may write."""
    since: datetime


@dataclass(frozen=True)
class Deleted:
    """What `delete` has done."""

    run: FinetuneRun
    """As it was last."""
    objects: int = 0
    """How many stored objects were deleted."""
    left: tuple[str, ...] = field(default=())
    """URIs of objects under output.uri that no run writes, and that were left alone."""


def read_report(store: Store, run: FinetuneRun) -> bytes:
    """report.html. Raises NoReport."""
    try:
        return store.read(REPORT)
    except ObjectNotFound:
        pass
    where = store.uri_of(REPORT)
    if run.status.state == "Succeeded":
        raise NoReport(f"there is no {where} any more: run {run.metadata.name!r} succeeded, and somebody deleted it")
    raise NoReport(
        f"there is no {where} yet: run {run.metadata.name!r} is {run.status.state}, and its report is written at its "
        f"end. `finetune report {run.spec.output.uri}` makes one of what is there"
    )


class Output:
    """A run's output, about to be deleted."""

    def __init__(self, store: Store, run: FinetuneRun) -> None:
        self._store, self._uid, self._name = store, run.metadata.uid, run.metadata.name

    def require_own(self) -> None:
        """Return where the output is this run's, or empty.

        Raises:
            OutputNotOwned: it is another run's, or nobody can say whose.
        """
        owner, _ = self._owner()
        if owner is None and next(self._store.list(), None) is not None:
            raise OutputNotOwned(
                f"{self._store.uri} holds objects but no {OWNER}, so that nobody can say whose they are: nothing was "
                f"deleted. Delete run {self._name!r} without its artifacts, and look at the objects yourself"
            )
        if owner is not None and owner.run != self._uid:
            raise OutputNotOwned(
                f"{self._store.uri} belongs to run {owner.run} since {owner.since:%Y-%m-%d %H:%M:%S} UTC, not to "
                f"{self._name!r} ({self._uid}): nothing was deleted. Delete the run without its artifacts"
            )

    def erase(self, now: datetime) -> tuple[int, tuple[str, ...]]:
        """Delete what the run has written: how many objects, and the URIs of those that are no run's and stay.

        First the run's process is fenced out, should it still live; the owner's mark goes last, so that after an
        erasure that was cut off it can still be told whose the rest is.

        Raises:
            OutputNotOwned: another run has taken the output; what is left is its own.
        """
        owner, etag = self._owner()
        if owner is None:
            return 0, ()
        self.require_own()
        fence = Owner(run=owner.run, process="deleted", epoch=owner.epoch + 1, since=now)
        mark = self._store.write_if(OWNER, fence.model_dump_json(by_alias=True, indent=2).encode() + b"\n", etag)
        if mark is None:
            raise self._taken()
        keys = [entry.key for entry in self._store.list()]
        ours = sorted(_ours(keys), key=_order)
        for start in range(0, len(ours), _BATCH):
            for key in ours[start : start + _BATCH]:
                if key == OWNER or key == ours[start]:
                    self._require(mark)
                self._store.delete(key)
        return len(ours), tuple(self._store.uri_of(key) for key in keys if key not in set(ours))

    def _require(self, mark: str) -> None:
        entry = self._store.stat(OWNER)
        if entry is None or entry.etag != mark:
            raise self._taken()

    def _taken(self) -> OutputNotOwned:
        return OutputNotOwned(f"{self._store.uri} was taken by another process just now: what is there is left alone")

    def _owner(self) -> tuple[Owner | None, str | None]:
        entry = self._store.stat(OWNER)
        if entry is None:
            return None, None
        try:
            return Owner.model_validate_json(self._store.read(OWNER)), entry.etag
        except ObjectNotFound:
            return None, None
        except ValidationError:
            raise OutputNotOwned(
                f"{self._store.uri_of(OWNER)} was not written by this version of finetune: nothing was deleted"
            ) from None


def _ours(keys: list[str]) -> list[str]:
    """Those that a trainer writes; without the outputs of other runs that lie deeper."""
    nested = tuple(key.removesuffix(OWNER) for key in keys if key.endswith(f"/{OWNER}"))
    own = [key for key in keys if key in FILES or key.startswith(FOLDERS)]
    return [key for key in own if not key.startswith(nested)]


def _order(key: str) -> tuple[int, str]:
    """The result first: an output without it is not complete, and no run takes it for one."""
    return {RESULT: 0, RUN: 2, OWNER: 3}.get(key, 1), key
