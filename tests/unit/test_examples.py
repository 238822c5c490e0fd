"""The report's wins and losses."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures

from finetune_trainer.data.types import Split
from finetune_trainer.evaluation.examples import find_examples, thumbnail
from finetune_trainer.evaluation.measure import Measured
from finetune_trainer.evaluation.recall import Direction, Retrieval
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.records import Evaluation, Ties
from tests.support.pictures import make_pictures
from tests.support.splits import split_of

N = 30
PREPROCESS = Preprocess((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "shortest")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    folder = tmp_path_factory.mktemp("examples")
    return split_of(make_pictures(folder / "pictures", N), PREPROCESS, folder / "cache")


def ranked(ranks: NDArray[np.int64], first: int = 0) -> Measured:
    """A measurement of two captions an image with the given ranks (M,); every caption finds first, first + 1, ..."""
    direction = Direction({}, {}, {}, ranks, np.zeros(len(ranks), np.bool_))
    found = Retrieval(direction, direction, np.repeat(np.arange(N), 2), ())
    ties = Ties(queries=0, optimistic={}, pessimistic={})
    named = {"dataset": "test", "model": "m", "pretrained": "p", "weights_digest": "w", "queries_digest": "q"}
    document = Evaluation(**named, metrics={}, images=N, captions=2 * N, ties=ties)
    return Measured(found, np.tile(np.arange(first, first + 3), (2 * N, 1)), document)


def test_the_furthest_come_first_one_a_picture_and_ten_at_most(split: Split) -> None:
    before, after = np.full(2 * N, 16), np.full(2 * N, 16)
    after[:24] = 8  # both captions of twelve pictures halve their rank
    after[[4, 20]] = 1, 2
    after[50] = 30
    examples = find_examples(ranked(before), ranked(after), split)
    assert [win.rank_after for win in examples.wins] == [1, 2] + [8] * 8
    assert [win.image for win in examples.wins[:3]] == ["picture-00002.jpg", "picture-00010.jpg", "picture-00000.jpg"]
    assert [(loss.rank_before, loss.rank_after) for loss in examples.losses] == [(16, 30)]
    assert examples.losses[0].caption == split.captions[50]


def test_what_was_found_before_and_after_has_thumbnails(split: Split) -> None:
    before, after = np.full(2 * N, 9), np.full(2 * N, 9)
    after[8] = 1
    examples = find_examples(ranked(before, 0), ranked(after, 20), split)
    (win,) = examples.wins
    assert win.top_before == ["picture-00000.jpg", "picture-00001.jpg", "picture-00002.jpg"]
    assert win.top_after == ["picture-00020.jpg", "picture-00021.jpg", "picture-00022.jpg"]
    assert examples.thumbnails.keys() == {win.image, *win.top_before, *win.top_after}


def test_nothing_changed_shows_nothing(split: Split) -> None:
    ranks = np.arange(1, 2 * N + 1)
    examples = find_examples(ranked(ranks), ranked(ranks), split)
    assert not examples.wins + examples.losses
    assert not examples.thumbnails


def test_equal_inputs_give_equal_bytes(split: Split) -> None:
    random = np.random.default_rng(0)
    sides = ranked(random.integers(1, N, 2 * N)), ranked(random.integers(1, N, 2 * N))
    first, second = (find_examples(*sides, split).model_dump_json() for _ in range(2))
    assert first == second


def test_pictures_of_one_name_are_told_apart(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "a", N - 1) + make_pictures(tmp_path / "b", 1, seed=5)
    twice = split_of(pictures, PREPROCESS, tmp_path / "cache")
    before, after = np.full(2 * N, 9), np.full(2 * N, 9)
    after[0], after[-1] = 1, 2
    wins = find_examples(ranked(before), ranked(after), twice).wins
    assert [win.image for win in wins] == ["picture-00000.jpg (picture 1)", "picture-00000.jpg (picture 30)"]


@pytest.mark.parametrize(("size", "expected"), [((224, 448), (128, 64)), ((32, 32), (32, 32))])
def test_thumbnails_are_small_jpegs(size: tuple[int, int], expected: tuple[int, int]) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    with Pictures.open(io.BytesIO(base64.b64decode(thumbnail(pixels)))) as picture:
        assert (picture.format, picture.size) == ("JPEG", expected)
