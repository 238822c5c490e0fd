"""Batches: the same bits for any number of threads, errors that arrive, threads that leave."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune_trainer.data.batches import PREFETCH, Batch, TrainBatches, evaluation_batches
from finetune_trainer.data.order import caption_of, stream_batch
from finetune_trainer.data.types import Image, Split
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.progress import Silent

INPUT = Preprocess((8, 8), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "shortest")
CAPTIONS = [("a cat", "a red cat", "an animal"), ("a dog",), ("a bird", "an animal"), ("a cow",), ("a hen", "an egg")]


@dataclass
class Noise:
    """Pictures in memory; `broken` is one that cannot be read."""

    count: int
    broken: int | None = None
    reads: int = 0

    def __len__(self) -> int:
        return self.count

    def evaluation(self, index: int) -> NDArray[np.uint8]:
        return np.full((8, 8, 3), index, dtype=np.uint8)

    def whole(self, index: int) -> NDArray[np.uint8]:
        self.reads += 1
        if index == self.broken:
            raise OSError(f"picture {index} is gone")
        return np.random.default_rng(index).integers(0, 256, (12, 14, 3), dtype=np.uint8)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> "Noise":
        raise NotImplementedError


def a_split(pixels: Noise | None = None) -> Split:
    images = [Image(f"row {i}", str(i), captions, "", "", 0) for i, captions in enumerate(CAPTIONS)]
    return Split("train", tuple(images), pixels or Noise(len(CAPTIONS)))


def tokenize(captions: list[str]) -> Tensor:
    return torch.tensor([[len(caption), sum(map(ord, caption))] for caption in captions])


def batches(split: Split, workers: int, seed: int = 0) -> TrainBatches:
    return TrainBatches(split, tokenize, INPUT, seed=seed, batch_size=4, workers=workers)


def same(one: Batch, other: Batch) -> bool:
    tensors = ("images", "tokens", "image_ids", "caption_ids")
    equal = all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)
    return equal and (one.step, one.epoch) == (other.step, other.epoch)


@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_threads_gives_the_same_bits(workers: int) -> None:
    expected = list(batches(a_split(), 0).iterate(0, 12))
    got = list(batches(a_split(), workers).iterate(0, 12))
    assert [batch.step for batch in got] == list(range(12))
    assert all(map(same, got, expected))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_goes_on_meets_the_batches_it_would_have_met(workers: int) -> None:
    through = list(batches(a_split(), workers).iterate(0, 9))
    resumed = list(batches(a_split(), workers).iterate(5, 9))
    assert all(map(same, resumed, through[5:]))
    assert len(resumed) == 4


def test_pairs_belong_together_and_have_the_models_shapes() -> None:
    split = a_split()
    for batch in batches(split, 2, seed=5).iterate(0, 10):
        images, epochs = stream_batch(5, batch.step, 4, len(CAPTIONS))
        chosen = [CAPTIONS[i][caption_of(5, i, e, len(CAPTIONS[i]))] for i, e in zip(images, epochs, strict=True)]
        assert batch.image_ids.tolist() == images.tolist()
        assert torch.equal(batch.tokens, tokenize(chosen))
        assert (batch.images.shape, batch.images.dtype) == ((4, 8, 8, 3), torch.uint8)
        assert batch.tokens.dtype == batch.image_ids.dtype == batch.caption_ids.dtype == torch.int64
        assert batch.epoch == (batch.step + 1) * 4 / 5


def test_equal_captions_of_two_images_share_an_id() -> None:
    texts: dict[int, set[int]] = {}
    for batch in batches(a_split(), 0).iterate(0, 30):
        for number, token in zip(batch.caption_ids.tolist(), batch.tokens[:, 1].tolist(), strict=True):
            texts.setdefault(number, set()).add(token)
    assert len(texts) == 8, "nine captions, of which two are equal"
    assert all(len(tokens) == 1 for tokens in texts.values())


class Steps(Silent):
    """What is told of a stage."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        assert (unit, done) == ("captions", 0)
        self.seen.append((stage, total))

    def advance(self, amount: int = 1, **_: float) -> None:
        self.seen.append(amount)


def test_captions_are_tokenized_once() -> None:
    calls: list[list[str]] = []

    def counting(captions: list[str]) -> Tensor:
        calls.append(captions)
        return tokenize(captions)

    list(TrainBatches(a_split(), counting, INPUT, seed=0, batch_size=4, workers=0).iterate(0, 5))
    assert [len(captions) for captions in calls] == [8]


def test_tokenizing_is_told_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_trainer.data.batches.TOKENIZE_AT_ONCE", 3)
    told = Steps()
    TrainBatches(a_split(), tokenize, INPUT, seed=0, batch_size=4, workers=0, progress=told)
    assert told.seen == [("train: captions", 8), 3, 3, 2]

    class Asked(Exception):
        pass

    class Impatient(Steps):
        def advance(self, amount: int = 1, **_: float) -> None:
            raise Asked

    with pytest.raises(Asked):
        TrainBatches(a_split(), tokenize, INPUT, seed=0, batch_size=4, workers=0, progress=Impatient())


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_an_error_in_a_thread_reaches_the_caller_and_no_thread_stays(workers: int) -> None:
    with pytest.raises(OSError, match="picture 3 is gone"):
        list(batches(a_split(Noise(5, broken=3)), workers).iterate(0, 10))
    assert not loaders()


def test_closing_early_leaves_no_thread_and_little_was_read_ahead() -> None:
    pixels = Noise(5)
    stream = batches(a_split(pixels), 2).iterate(0, 1_000_000)
    next(stream)
    assert loaders()
    stream.close()
    assert not loaders()
    assert pixels.reads <= 4 * (PREFETCH + 1)


def loaders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_evaluation_batches_are_the_pictures_in_order() -> None:
    got = list(evaluation_batches(a_split(), 2))
    assert [tuple(batch.shape) for batch in got] == [(2, 8, 8, 3), (2, 8, 8, 3), (1, 8, 8, 3)]
    assert torch.cat(got)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
