"""No more of a store is listed than is looked at: in a bucket a listing is read to its end before it is used."""

from collections.abc import Callable, Iterator

import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.client.memory_store import MemoryStore
from finetune_sdk.errors import OutputInUse
from finetune_sdk.storage import Entry
from finetune_trainer.data.formats import locate
from finetune_trainer.model.fetch import direct_entries
from finetune_trainer.pipeline.begin import refuse_strangers

URI = "s3://bucket/there"


class Large(MemoryStore):
    """Holds 3,000 objects, and counts those that are listed."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.listed = 0
        for number in range(3000 if uri == URI else 0):
            self.write(f"{number:04}.txt", b"")

    def list(self, prefix: str = "", most: int | None = None) -> Iterator[Entry]:
        found = list(super().list(prefix, most))
        self.listed += len(found)
        return iter(found)


def begun(store: Large) -> None:
    with pytest.raises(OutputInUse, match=r"holds '0000\.txt' but no run\.json"):
        refuse_strangers(store)


def located(store: Large) -> None:
    locate("data.train", DataSource(uri=URI, format="folder"), lambda uri: store if uri == URI else Large(uri))


LISTED: dict[str, tuple[Callable[[Large], object], int]] = {
    "whether an output is free": (begun, 2),
    "whether a folder of a named format is there": (located, 1),
    "which weights a folder holds": (direct_entries, 1000),
}


@pytest.mark.parametrize(("look", "most"), LISTED.values(), ids=LISTED)
def test_no_more_is_listed_than_is_looked_at(look: Callable[[Large], object], most: int) -> None:
    store = Large(URI)
    look(store)
    assert store.listed == most
