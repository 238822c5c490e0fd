"""Embeddings, the Evaluation document and the changes between two of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from open_clip.transform import image_transform
from PIL import Image as Pictures

from finetune_sdk.errors import FinetuneError, InvalidSpec, TrainerError, WeightsInvalid
from finetune_trainer.data.types import Split
from finetune_trainer.evaluation.encode import encode_images, encode_texts, exact
from finetune_trainer.evaluation.kept import decode_outcomes, encode_outcomes
from finetune_trainer.evaluation.measure import (
    Measured,
    best_images,
    changes,
    headline,
    measure,
    queries_digest,
    resolve_ks,
)
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.progress import Silent
from tests.support.models import tiny_model
from tests.support.pictures import Picture, make_pictures
from tests.support.splits import split_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> ClipModel:
    return tiny_model("clip")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    return make_pictures(tmp_path_factory.mktemp("pictures"), 20)


@pytest.fixture(scope="module")
def split(model: ClipModel, pictures: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> Split:
    return split_of(pictures, model.preprocess, tmp_path_factory.mktemp("cache"))


def measured(model: ClipModel, split: Split, ks: tuple[int, ...] = (1, 5)) -> Measured:
    return measure(model, split, ks, device=CPU, progress=Silent(), stage="baseline")


def test_pictures_are_embedded_as_open_clip_embeds_them(
    model: ClipModel, split: Split, pictures: list[Picture]
) -> None:
    cfg = model.preprocess
    transform = image_transform(cfg.size, is_train=False, mean=cfg.mean, std=cfg.std, interpolation=cfg.interpolation)
    opened = [Pictures.open(picture.path) for picture in pictures]
    with torch.no_grad():
        expected = F.normalize(model.module.encode_image(torch.stack([transform(each) for each in opened])), dim=-1)  # type: ignore[operator]
    for each in opened:
        each.close()
    assert torch.equal(encode_images(model, split, device=CPU, progress=Silent()), expected)


def test_captions_are_embedded_with_those_of_their_batch(model: ClipModel, split: Split) -> None:
    with torch.no_grad():
        expected = F.normalize(model.module.encode_text(model.tokenize(split.captions)), dim=-1)  # type: ignore[operator]
    assert torch.equal(encode_texts(model, split, device=CPU, progress=Silent()), expected)
    parts = encode_texts(model, split, device=CPU, progress=Silent(), batch_size=7)
    assert torch.allclose(parts, expected, atol=1e-6)


def test_exact_puts_modes_and_switches_back() -> None:
    part = torch.nn.Sequential(torch.nn.BatchNorm1d(2).eval(), torch.nn.Dropout().train())
    part.training = False
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    with torch.autocast("cpu", dtype=torch.bfloat16), exact(part, CPU):
        assert not any(module.training for module in part.modules())
        assert not any(switch.allow_tf32 for switch in switches)
        assert not torch.is_autocast_enabled("cpu")
    assert [module.training for module in part.modules()] == [False, False, True]
    assert [switch.allow_tf32 for switch in switches] == before


def test_the_document_is_clip_benchmarks_and_more(model: ClipModel, split: Split) -> None:
    document = measured(model, split).evaluation.model_dump(by_alias=True)
    wanted = {"dataset": "test", "model": "tiny-clip", "pretrained": "random", "task": "zeroshot_retrieval"}
    assert wanted.items() <= document.items()
    assert [*document["metrics"]] == [f"{kind}_retrieval_recall@{k}" for k in (1, 5) for kind in ("image", "text")]
    assert (document["images"], document["captions"]) == (20, 40)
    assert document["weightsDigest"] == model.digest


class Counting(Silent):
    """What was to be done in each part, and what was."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[int | None, int]] = {}

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        self.parts[stage] = (total, done)

    def advance(self, amount: int = 1, **figures: float) -> None:
        stage, (total, done) = self.parts.popitem()
        self.parts[stage] = (total, done + amount)


def test_every_part_of_it_is_counted(model: ClipModel, split: Split) -> None:
    counting = Counting()
    measure(model, split, (1,), device=CPU, progress=counting, stage="baseline")
    assert counting.parts == {
        "baseline: pictures": (20, 20),
        "baseline: captions": (40, 40),
        "baseline: recall": (40, 40),
    }


def test_weights_that_give_nan_are_refused(split: Split) -> None:
    broken = tiny_model("clip")
    torch.nn.init.constant_(broken.module.text_projection, torch.nan)  # type: ignore[arg-type]
    with pytest.raises(WeightsInvalid, match="caption 1 of 40"):
        measured(broken, split)


def test_before_and_after_share_a_digest_of_queries(model: ClipModel, split: Split) -> None:
    before, after = measured(model, split), measured(tiny_model("clip", seed=1), split)
    assert before.evaluation.queries_digest == after.evaluation.queries_digest
    assert before.evaluation.weights_digest != after.evaluation.weights_digest
    told = changes(before, after, seed=0)
    for metric, change in told.items():
        assert change.gain == after.evaluation.metrics[metric] - before.evaluation.metrics[metric]
        assert change.interval95.low <= change.gain <= change.interval95.high
    assert told.keys() == before.evaluation.metrics.keys()


ALTERED: dict[str, Callable[[Split], Split]] = {
    "another order": lambda split: replace(split, images=split.images[::-1]),
    "a picture fewer": lambda split: replace(split, images=split.images[1:]),
    "another caption": lambda split: replace(
        split, images=(replace(split.images[0], captions=("a hat",)), *split.images[1:])
    ),
    "other pixels": lambda split: replace(
        split, images=(replace(split.images[0], pixels_sha256="0" * 64), *split.images[1:])
    ),
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_other_queries_have_another_digest_and_are_not_compared(
    model: ClipModel, split: Split, alter: Callable[[Split], Split]
) -> None:
    before = measured(model, split)
    other = replace(
        before, evaluation=before.evaluation.model_copy(update={"queries_digest": queries_digest(alter(split))})
    )
    with pytest.raises(TrainerError, match="different queries"):
        changes(before, other, seed=0)


def test_the_first_images_of_each_caption_are_kept() -> None:
    torch.manual_seed(0)
    images, texts = torch.randn(9, 4), torch.randn(30, 4)
    assert np.array_equal(best_images(images, texts), (texts @ images.T).argsort(1, descending=True)[:, :3])
    assert best_images(images[:2], texts).shape == (30, 2)


def test_outcomes_outlive_the_process(model: ClipModel, split: Split, tmp_path: Path) -> None:
    before, after = measured(model, split), measured(tiny_model("clip", seed=1), split)
    again = decode_outcomes(before.evaluation, encode_outcomes(before))
    assert encode_outcomes(again) == encode_outcomes(before)
    assert again.retrieval.recalls == before.evaluation.metrics
    assert again.retrieval.ties == before.evaluation.ties
    assert changes(again, after, seed=0) == changes(before, after, seed=0)


RESOLVED: dict[str, tuple[list[int] | None, int, tuple[int, ...], int]] = {
    "by default 1, 5 and 10": (None, 10, (1, 5, 10), 0),
    "a default above the candidates is dropped with a note": (None, 9, (1, 5), 1),
    "one picture leaves recall at 1": (None, 1, (1,), 1),
    "what was written is kept, in order": ([20, 3], 20, (3, 20), 0),
}


@pytest.mark.parametrize(("recall_at", "n_images", "ks", "notes"), RESOLVED.values(), ids=RESOLVED)
def test_ks(recall_at: list[int] | None, n_images: int, ks: tuple[int, ...], notes: int) -> None:
    got, told = resolve_ks(recall_at, n_images)
    assert (got, len(told)) == (ks, notes)


HEADLINES: dict[str, tuple[str | None, tuple[int, ...], str]] = {
    "recall at 5 where it is measured": (None, (1, 5, 10), "image_retrieval_recall@5"),
    "else the largest k": (None, (1, 20), "image_retrieval_recall@20"),
    "else what was written": ("text_retrieval_recall@1", (1, 5), "text_retrieval_recall@1"),
}


@pytest.mark.parametrize(("metric", "ks", "expected"), HEADLINES.values(), ids=HEADLINES)
def test_headline(metric: str | None, ks: tuple[int, ...], expected: str) -> None:
    assert headline(metric, ks) == expected


REFUSED: dict[str, tuple[Callable[[], object], type[FinetuneError], str]] = {
    "a written k above the candidates": (
        lambda: resolve_ks([1, 50], 40),
        InvalidSpec,
        "evaluation.recallAt: 50 is above the number of candidates, 40 test pictures",
    ),
    "a headline that is not measured": (
        lambda: headline("image_retrieval_recall@10", (1, 5)),
        InvalidSpec,
        "evaluation.metric: image_retrieval_recall@10 is not measured, only recall at 1, 5",
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(call: Callable[[], object], error: type[FinetuneError], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
