"""One writer at a time: owner.json names the process that may write, and every later owner fences out the one before.

There is no lease to wait for: the newest start wins, since a run that is started again means that its user, or
Kubernetes, holds the earlier process for gone. A process that was only slow learns of it before its next
manifest and ends.
"""

from datetime import datetime

from finetune_sdk.api.base import Schema
from finetune_sdk.errors import OutputInUse
from finetune_sdk.storage import Store
from finetune_trainer.pipeline.documents import encode, read_document
from finetune_trainer.pipeline.layout import OWNER

MAX_CLAIMS = 5
"""Starts in the same instant are rare: losing this often in a row means that something else keeps writing."""


class Owner(Schema):
    """owner.json."""

    run: str
    """The run's uid, or its name on one machine."""
    process: str
    """The pod's uid, or host and process id."""
    epoch: int
    """Counts the owners; the highest may write."""
    since: datetime


class Fence:
    """Proof of ownership of an output; `check` before anything that makes work visible."""

    def __init__(self, store: Store, owner: Owner) -> None:
        self._store = store
        self.owner = owner

    def check(self) -> None:
        """Raise OutputInUse once a later process owns the output."""
        current = read_document(self._store, OWNER, Owner)
        if current == self.owner:
            return
        whose = f"process {current.process} since {current.since:%Y-%m-%d %H:%M:%S} UTC" if current else "nobody"
        raise OutputInUse(
            f"{self._store.uri} is now written by {whose}: this process stops so that nothing is mixed up"
        )


def claim(store: Store, *, run: str, process: str, now: datetime) -> Fence:
    """Make this process the owner, after whoever was it before.

    Raises:
        OutputInUse: others kept claiming at the same time.
    """
    for _ in range(MAX_CLAIMS):
        entry = store.stat(OWNER)
        previous = read_document(store, OWNER, Owner) if entry else None
        owner = Owner(run=run, process=process, epoch=previous.epoch + 1 if previous else 1, since=now)
        if store.write_if(OWNER, encode(owner), entry.etag if entry else None) is not None:
            return Fence(store, owner)
    raise OutputInUse(f"{store.uri} is being claimed by other processes at the same time: start the run once")
