"""What is computed on a GPU is what is computed on a CPU, and what others compute there."""

from pathlib import Path

import pytest
import torch
from clip_benchmark.metrics.zeroshot_retrieval import evaluate
from torch import Tensor

from finetune_trainer.data.batches import evaluation_batches, normalise
from finetune_trainer.evaluation.encode import exact
from finetune_trainer.evaluation.measure import measure
from finetune_trainer.progress import Silent
from finetune_trainer.training.memory import Fit
from finetune_trainer.training.state import TrainState
from tests.support.models import Kind, tiny_model
from tests.support.pictures import make_pictures
from tests.support.splits import split_of
from tests.support.training import assert_same_gradients, make_batch, resolved_for

KS = (1, 5, 10)


@pytest.mark.parametrize("kind", ["clip", "resnet", "custom-text"])
def test_recall_equals_clip_benchmarks_on_the_same_device(kind: Kind, tmp_path: Path, gpu: torch.device) -> None:
    """Of models that tell all captions apart: among equal scores a GPU's topk takes others than a CPU's."""
    model = tiny_model(kind, folder=tmp_path)
    model.module.to(gpu)
    pictures = make_pictures(tmp_path / "pictures", 150, captions_per_image=3)
    split = split_of(pictures, model.preprocess, tmp_path / "cache")
    found = measure(model, split, KS, device=gpu, progress=Silent(), stage="baseline").evaluation.metrics
    captions = [list(image.captions) for image in split.images]
    pixels = [normalise(batch, model.preprocess) for batch in evaluation_batches(split, 64)]
    loader = [(part, captions[64 * number : 64 * number + len(part)]) for number, part in enumerate(pixels)]
    with exact(model.module, gpu):  # no TF32: without this torch uses it for convolutions
        theirs = evaluate(model.module, loader, model.tokenize, gpu.type, amp=False, recall_k_list=KS)
    assert found == theirs


@pytest.mark.parametrize("micro_batch", [8, 2])
@pytest.mark.parametrize("kind", ["clip", "composed", "siglip", "resnet"])
def test_gradients_are_those_of_a_cpu(kind: Kind, micro_batch: int, tmp_path: Path, gpu: torch.device) -> None:
    want = _gradients(kind, tmp_path / "cpu", torch.device("cpu"), 8)
    got = _gradients(kind, tmp_path / "gpu", gpu, micro_batch)
    assert_same_gradients(got, want, gap=1e-4, rounding=1e-6)


def _gradients(kind: Kind, folder: Path, device: torch.device, micro_batch: int) -> dict[str, Tensor]:
    """Of one step in float32, on the CPU; dropout, whose draws differ between devices, is off."""
    model = tiny_model(kind, folder=folder)
    model.module.to(device)
    state = TrainState(model, resolved_for(batch_size=8), Fit(micro_batch, activation_checkpointing=False))
    model.module.eval()
    state.update(make_batch(model, 0, 8, duplicates=True))
    named = model.module.named_parameters()
    return {name: value.grad.cpu() for name, value in named if value.grad is not None}
