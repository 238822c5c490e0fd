"""Two models on the same queries: the figures of each by itself, and their difference."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_trainer.display.choose import console_for
from finetune_trainer.display.comparison import show_comparison
from finetune_trainer.pipeline.compare import Comparison, compare_models, shared_queries
from finetune_trainer.pipeline.evaluate import evaluate_by_itself
from tests.support.models import tiny_model, tiny_open_clip_dir
from tests.support.pictures import Picture, encode, make_pictures, write_table
from tests.support.preparing import source
from tests.support.splits import split_of
from tests.support.worlds import Notes, a_world, model_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models that share neither architecture nor input, and 24 pictures."""
    made = tmp_path_factory.mktemp("compared")
    tiny_open_clip_dir(made / "small")
    tiny_open_clip_dir(made / "composed", "composed", seed=1)
    write_table(made / "captions.csv", make_pictures(made / "pictures", 24))
    return made


@pytest.fixture(scope="module")
def data(folder: Path) -> DataSource:
    return source(folder / "captions.csv")


@pytest.fixture(scope="module")
def compared(folder: Path, data: DataSource) -> Comparison:
    models = model_in(folder / "small"), model_in(folder / "composed")
    return compare_models(models, data, (1, 3), a_world(folder / "cache"))


def test_each_has_the_figures_that_it_has_by_itself(folder: Path, data: DataSource, compared: Comparison) -> None:
    for name, evaluation in (("small", compared.first), ("composed", compared.second)):
        assert evaluation == evaluate_by_itself(model_in(folder / name), data, (1, 3), a_world(folder / "cache"))
    assert compared.first.model != compared.second.model


def test_the_difference_is_the_second_less_the_first(compared: Comparison) -> None:
    assert {*compared.changes} == {f"{way}_retrieval_recall@{k}" for way in ("image", "text") for k in (1, 3)}
    assert any(change.gain for change in compared.changes.values())
    for metric, change in compared.changes.items():
        assert (change.before, change.after) == (compared.first.metrics[metric], compared.second.metrics[metric])
        assert change.gain == change.after - change.before
        assert change.interval95.low <= change.gain <= change.interval95.high
        assert (change.interval95.draws, change.interval95.images) == (10_000, 24)


def test_a_model_does_not_differ_from_itself(folder: Path, data: DataSource) -> None:
    models = model_in(folder / "small"), model_in(folder / "small")
    same = compare_models(models, data, None, a_world(folder / "cache"))
    assert same.first == same.second
    assert {(c.gain, c.interval95.low, c.interval95.high) for c in same.changes.values()} == {(0.0, 0.0, 0.0)}


def test_a_picture_that_one_model_cannot_take_counts_for_neither(folder: Path, tmp_path: Path) -> None:
    made = make_pictures(tmp_path / "pictures", 120, size=(24, 18))
    long = tmp_path / "pictures/long.png"  # at 64 px it would be blown up to more pixels than are read, at 32 px not
    noise = np.random.default_rng(0).integers(0, 255, (1, 20_000, 3), np.uint8)
    long.write_bytes(encode(Image.fromarray(noise)))
    write_table(tmp_path / "captions.csv", [Picture(long, ("a line",)), *made])
    notes = Notes()
    models = model_in(folder / "small"), model_in(folder / "composed")
    found = compare_models(models, source(tmp_path / "captions.csv"), None, a_world(tmp_path / "cache", notes))
    assert (found.first.images, found.second.images) == (120, 120)
    assert found.first.queries_digest == found.second.queries_digest
    assert "1 picture left out, which only one of the models can take" in notes.notes


def test_shared_queries_keep_the_order_of_the_first(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 6)
    cfg = tiny_model().preprocess
    first = split_of(pictures[:5], cfg, tmp_path / "first")
    second = split_of(pictures[:0:-1], cfg, tmp_path / "second")
    one, other = shared_queries(first, second)
    assert one.images == other.images == first.images[1:]
    assert all(np.array_equal(one.pixels.evaluation(i), other.pixels.evaluation(i)) for i in range(4))
    with pytest.raises(DataInvalid, match="no picture that both models can take"):
        shared_queries(split_of(pictures[:2], cfg, tmp_path / "a"), split_of(pictures[2:], cfg, tmp_path / "b"))


def test_the_table_fits_80_columns_and_names_both(compared: Comparison) -> None:
    stream = io.StringIO()
    show_comparison(compared, console_for(stream, {}), "figures.json")
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines[:6])
    assert lines[0].split() == ["metric", "first", "second", "difference", "95", "%", "interval"]
    assert [line.split()[0] for line in lines[2:6]] == [
        f"{way}_retrieval_recall@{k}" for way in ("image", "text") for k in (1, 3)
    ]
    text = stream.getvalue()
    for evaluation in (compared.first, compared.second):
        assert f"{evaluation.model} ({evaluation.pretrained})" in text
    assert "Only 24 test pictures" in text
    assert "result  figures.json" in text
