"""What is kept of a source on local disk: read once for each state of it, and one state at a time."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.prepare import prepare_test
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.progress import Silent
from tests.support.pictures import Picture, make_pictures, write_table

INPUT = Preprocess((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "shortest")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    return make_pictures(tmp_path / "pictures", 6)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def prepared(table: Path, cache: Path) -> Split:
    spec = DataSource(uri=path_to_uri(table))
    split, _ = prepare_test(spec, INPUT, cache_root=cache, stores=open_store, progress=Silent())
    return split


def kept(cache: Path) -> set[str]:
    return {folder.name for folder in (cache / "data").iterdir()}


def test_of_a_source_that_is_mended_row_by_row_its_last_state_is_kept(
    pictures: list[Picture], tmp_path: Path, cache: Path
) -> None:
    table = write_table(tmp_path / "captions.csv", pictures[:4])
    prepared(table, cache)
    before = kept(cache)
    assert prepared(write_table(table, pictures[:5]), cache).captions
    after = kept(cache)
    assert len(after) == 1
    assert after != before
    prepared(table, cache)
    assert kept(cache) == after


def test_what_is_asked_for_otherwise_stays(pictures: list[Picture], tmp_path: Path, cache: Path) -> None:
    table = write_table(tmp_path / "captions.csv", pictures)
    prepared(table, cache)
    other = shutil.copyfile(table, tmp_path / "other.csv")
    prepared(other, cache)
    assert len(kept(cache)) == 2


def test_what_is_still_read_stays_until_it_is_not(pictures: list[Picture], tmp_path: Path, cache: Path) -> None:
    table = write_table(tmp_path / "captions.csv", pictures[:4])
    split = prepared(table, cache)
    expected = split.pixels.evaluation(0).copy()
    part = split.pixels.subset([0])
    del split
    prepared(write_table(table, pictures[:5]), cache)
    assert len(kept(cache)) == 2
    assert np.array_equal(part.evaluation(0), expected)
    del part
    prepared(write_table(table, pictures[:6]), cache)
    assert len(kept(cache)) == 1
