"""The stage `prepare` as tests call it: on a tiny input, with a cache beside the data."""

from collections.abc import Callable
from pathlib import Path

from finetune_sdk.api.data import Data, DataSource
from finetune_sdk.errors import Stopped
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.prepare import Dataset, prepare_data, prepare_test
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.records import DataReport
from tests.support.pictures import Picture, make_pictures

PREPROCESS = Preprocess(
    size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", resize_mode="shortest"
)
ODD = ('a dog, cat.jpg, and "quotes"', "one\u2028line of it", " spaces around ")


class Told:
    """Remembers what a stage told."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.started: list[tuple[int | None, int]] = []
        self.read = 0
        self.notes: list[str] = []
        self._stop_after = stop_after

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        assert (stage, unit) == ("prepare", "images")
        self.started.append((total, done))

    def advance(self, amount: int = 1, **figures: float) -> None:
        assert not figures
        self.read += amount
        if self._stop_after is not None and self.read >= self._stop_after:
            raise Stopped("stopped")

    def note(self, message: str) -> None:
        self.notes.append(message)


def twelve_pictures(folder: Path) -> list[Picture]:
    """A dozen, the first with captions that are hard to write down."""
    made = make_pictures(folder / "pictures", 12)
    return [Picture(made[0].path, ODD), *made[1:]]


def source(path: Path, **values: object) -> DataSource:
    return DataSource.model_validate({"uri": path_to_uri(path), **values})


def measured(path: Path, progress: Told | None = None, bad: float = 0.01, **values: object) -> tuple[Split, DataReport]:
    return prepare_test(
        source(path, **values),
        PREPROCESS,
        cache_root=path.parent / "cache",
        stores=open_store,
        progress=progress or Told(),
        max_bad_fraction=bad,
    )


def prepared(data: Data, folder: Path, progress: Told | None = None, seed: int = 0) -> Dataset:
    told = progress or Told()
    return prepare_data(
        data, PREPROCESS, seed=seed, cache_root=folder / "cache", stores=open_store, progress=told, limits=None
    )


Write = Callable[[Path, list[Picture]], Path]
"""Writes a set of pictures below a folder; returns what the data's uri names."""
