"""Recall against CLIP Benchmark on the same embeddings, ties and all."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from clip_benchmark.metrics import zeroshot_retrieval
from numpy.typing import NDArray
from torch import Tensor

from finetune_sdk.errors import DataInvalid, FinetuneError, InvalidSpec, WeightsInvalid
from finetune_trainer.evaluation import recall
from finetune_trainer.evaluation.recall import BLOCK, Retrieval, retrieval
from finetune_trainer.progress import Silent
from finetune_trainer.records import Recalls

Sample = tuple[Tensor, Tensor, NDArray[np.int64]]
KS = (1, 5, 10)


def embeddings(n_images: int, n_texts: int, width: int, duplicates: float = 0.0, seed: int = 0) -> Sample:
    """Texts near their images, every image with at least one; a share of both repeated with equal bits."""
    torch.manual_seed(seed)
    images = torch.randn(n_images, width)
    owner = torch.cat([torch.arange(n_images), torch.randint(n_images, (n_texts - n_images,))]).sort().values
    texts = images[owner] + 2 * torch.randn(n_texts, width)
    for side in (images, texts):
        copies = int(duplicates * len(side))
        order = torch.randperm(len(side))
        side[order[:copies]] = side[order[copies : 2 * copies]]
    return images, texts, owner.numpy()


def measure(sample: Sample, ks: Sequence[int], chunk: int | None = None) -> Retrieval:
    images, texts, owner = sample
    return retrieval(F.normalize(images, dim=-1), F.normalize(texts, dim=-1), owner, ks, chunk)


class Stop(Exception):
    """Asked for in the midst."""


class StopsAfter(Silent):
    """Raises at the second part of a product."""

    def __init__(self) -> None:
        self.counted: list[int] = []

    def advance(self, amount: int = 1, **figures: float) -> None:
        self.counted.append(amount)
        if len(self.counted) == 2:
            raise Stop


def test_a_stop_is_heard_between_two_parts_of_the_product() -> None:
    images, texts, owner = embeddings(100, 4 * BLOCK, 8)
    progress = StopsAfter()
    with pytest.raises(Stop):
        retrieval(images, texts, owner, (1,), BLOCK, progress)
    assert progress.counted == [BLOCK, BLOCK]


class Stored:
    """A model whose inputs are indices of embeddings; CLIP Benchmark normalises them itself."""

    def __init__(self, images: Tensor, texts: Tensor) -> None:
        self.encode_image = images.__getitem__
        self.encode_text = texts.__getitem__


def clip_benchmark(sample: Sample, ks: Sequence[int]) -> Recalls:
    images, texts, owner = sample
    numbers: list[list[str]] = [[] for _ in images]
    for text, image in enumerate(owner):
        numbers[image].append(str(text))
    batches = [range(start, min(start + 64, len(images))) for start in range(0, len(images), 64)]
    loader = [(torch.tensor(batch), [numbers[image] for image in batch]) for batch in batches]
    metrics: Recalls = zeroshot_retrieval.evaluate(
        Stored(images, texts),
        loader,
        lambda captions: torch.tensor([int(caption) for caption in captions]),
        "cpu",
        amp=False,
        recall_k_list=list(ks),
    )
    return metrics


@pytest.mark.parametrize("chunk", [1, 500, 1000, None])
@pytest.mark.parametrize("duplicates", [0.0, 0.1])
@pytest.mark.parametrize(("n_images", "n_texts", "width"), [(20, 60, 16), (301, 1111, 100), (799, 1603, 64)])
def test_floats_equal_those_of_clip_benchmark(
    n_images: int, n_texts: int, width: int, duplicates: float, chunk: int | None
) -> None:
    sample = embeddings(n_images, n_texts, width, duplicates)
    found = measure(sample, KS, chunk)
    assert found.recalls == clip_benchmark(sample, KS)
    assert bool(found.ties.queries) == bool(duplicates)


@pytest.mark.parametrize("chunk", [1, None])
def test_a_collapsed_model_is_decided_by_order_as_clip_benchmark_does(chunk: int | None) -> None:
    images, _, owner = embeddings(900, 1800, 8)
    sample = images[:1].repeat(900, 1), images[:1].repeat(1800, 1), owner
    found = measure(sample, KS, chunk)
    assert found.recalls == clip_benchmark(sample, KS)
    assert found.ties.queries == 2700
    assert set(found.ties.optimistic.values()) == {1.0}
    assert set(found.ties.pessimistic.values()) == {0.0}


def test_coarse_scores_tie_everywhere_and_stay_equal() -> None:
    images, texts, owner = embeddings(400, 1000, 12)
    sample = images.sign(), texts.sign(), owner
    found = measure(sample, (1, 2, 5, 10, 20))
    assert found.recalls == clip_benchmark(sample, (1, 2, 5, 10, 20))
    for metric, value in found.recalls.items():
        assert found.ties.pessimistic[metric] <= value <= found.ties.optimistic[metric]


def test_texts_in_any_order_are_equal_too() -> None:
    images, texts, owner = embeddings(900, 2000, 32, 0.1)
    order = torch.randperm(len(texts))
    shuffled = measure((images, texts[order], owner[order.numpy()]), KS)
    straight = measure((images, texts, owner), KS)
    assert np.array_equal(shuffled.images.ranks, straight.images.ranks[order.numpy()])
    assert np.array_equal(shuffled.texts.ranks, straight.texts.ranks)


def test_a_wrong_expectation_of_the_best_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = embeddings(301, 1111, 16, 0.1)
    right = measure(sample, KS).recalls
    monkeypatch.setattr(recall, "_expected_best", lambda images, *_: torch.zeros(len(images)))
    assert measure(sample, KS).recalls == right


def test_ranks_are_those_of_a_full_sort() -> None:
    images, texts, owner = embeddings(50, 120, 8)
    found = measure((images, texts, owner), (5,))
    order = (texts @ F.normalize(images, dim=-1).T).argsort(1, descending=True)
    ranks = (order == torch.from_numpy(owner)[:, None]).nonzero()[:, 1] + 1
    assert np.array_equal(found.images.ranks, ranks.numpy())
    assert np.array_equal(found.images.hits[5], ranks.numpy() <= 5)


def test_two_equal_captions_of_one_picture_are_no_tie() -> None:
    images, texts, _ = embeddings(30, 60, 8)
    texts[1::2] = texts[::2]
    found = measure((images, texts, np.repeat(np.arange(30), 2)), (1, 2))
    assert not found.texts.tied.any()


def test_hits_of_a_metric_come_with_the_image_of_each_query() -> None:
    sample = embeddings(30, 60, 8)
    found = measure(sample, KS)
    for metric in found.recalls:
        assert len(found.hits(metric)) == len(found.image_of_query(metric))
        assert found.hits(metric).mean() == pytest.approx(found.recalls[metric])


def broken(sample: Sample, side: int, value: float) -> Sample:
    sample[side][3, 2] = value
    return sample


REFUSED: dict[str, tuple[Sample, tuple[int, ...], type[FinetuneError], str]] = {
    "k above the number of candidates": (embeddings(9, 20, 4), (1, 10), InvalidSpec, "10 is not between 1 and 9"),
    "k of zero": (embeddings(9, 20, 4), (0,), InvalidSpec, "0 is not between 1 and 9"),
    "an image without a caption": (
        (*embeddings(9, 20, 4)[:2], np.repeat(np.arange(8), [5, 5, 5, 1, 1, 1, 1, 1])),
        (1,),
        DataInvalid,
        "picture 9 of 9 has no caption",
    ),
    "a caption of an image that is not there": (
        (*embeddings(9, 20, 4)[:2], np.arange(20)),
        (1,),
        DataInvalid,
        "belongs to picture 20",
    ),
    "a picture embedded as NaN": (
        broken(embeddings(9, 20, 4), 0, np.nan),
        (1,),
        WeightsInvalid,
        "picture 4 of 9",
    ),
    "a caption embedded as infinity": (
        broken(embeddings(9, 20, 4), 1, np.inf),
        (1,),
        WeightsInvalid,
        "caption 4 of 20",
    ),
}


@pytest.mark.parametrize(("sample", "ks", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_in_words(sample: Sample, ks: tuple[int, ...], error: type[FinetuneError], words: str) -> None:
    with pytest.raises(error, match=words):
        measure(sample, ks)
