"""What a run will take, measured on a few pairs and scaled: time, memory, disk. No weight is changed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from finetune_sdk.api.run import FinetuneRunSpec
from finetune_trainer.data.batches import Batch, TrainBatches, evaluation_batches, normalise
from finetune_trainer.data.prepare import Dataset
from finetune_trainer.evaluation.encode import exact, text_encoder
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.padding import without_padding
from finetune_trainer.training.defaults import ResolvedTraining
from finetune_trainer.training.memory import Fit
from finetune_trainer.training.state import TrainState

FEW_PAIRS = {"cpu": 8}
"""Pairs that are tried: on a CPU as many as take seconds, elsewhere 32, which keep a GPU busy."""
DEFAULT_FEW = 32
WEIGHT = 4
"""Bytes of a float32."""
TRAINED = 4
"""Floats for each trained parameter: itself, its gradient, and AdamW's two averages."""
KEPT_STATES = 3
"""Copies of all weights in the host's memory when candidates are chosen: the base, the last, the best."""
SAVED = 3
"""Floats for each trained parameter in a checkpoint: itself and AdamW's averages."""
FORWARD_SHARE = 1 / 3
"""Of a step; with several micro-batches the towers run forward twice."""


@dataclass(frozen=True)
class Costs:
    """An estimate, on the device that was used for it."""

    step_seconds: float
    measure_seconds: float
    """Of all measuring: the test set twice, validation as often as it is due, and each candidate."""
    total_seconds: float
    fixed_bytes: int
    """Device memory that does not grow with the micro-batch."""
    pair_bytes: int
    """Device memory for the activations of one pair."""
    host_bytes: int
    """The host's memory for copies of the weights."""
    output_bytes: int
    """Checkpoints and exports under output.uri at most."""


def estimate(
    model: ClipModel, dataset: Dataset, resolved: ResolvedTraining, spec: FinetuneRunSpec, device: torch.device
) -> Costs:
    """Time one step and some encoding. `model` is frozen, or adapted, as it will be trained."""
    pair_seconds, pair_bytes = _one_step(model, dataset, resolved, device)
    several = resolved.micro_batch_size is not None and resolved.micro_batch_size < resolved.batch_size
    step = resolved.batch_size * pair_seconds * (1 + FORWARD_SHARE * several)
    images, captions = _encoding(model, dataset, device)

    def measure(split_images: int, split_captions: int) -> float:
        return images * split_images + captions * split_captions

    candidates = len(resolved.evaluation_steps) + 2 * sum(alpha > 0 for alpha in resolved.alphas) + 1
    validation = measure(len(dataset.validation.images), len(dataset.validation.captions))
    measuring = 2 * measure(len(dataset.test.images), len(dataset.test.captions)) + candidates * validation
    trained, frozen = _parameters(model)
    checkpoint = WEIGHT * (SAVED * trained + frozen)
    exports = len(spec.output.exports) * WEIGHT * (trained + frozen)
    return Costs(
        step_seconds=step,
        measure_seconds=measuring,
        total_seconds=resolved.total_steps * step + measuring,
        fixed_bytes=WEIGHT * (TRAINED * trained + frozen),
        pair_bytes=pair_bytes,
        host_bytes=KEPT_STATES * WEIGHT * (trained + frozen),
        output_bytes=(spec.checkpoints.keep + 1) * checkpoint + exports,
    )


def _one_step(
    model: ClipModel, dataset: Dataset, resolved: ResolvedTraining, device: torch.device
) -> tuple[float, int]:
    """Seconds and bytes of activations for each pair: the first step allocates and is counted, the second is timed."""
    few = min(FEW_PAIRS.get(device.type, DEFAULT_FEW), resolved.batch_size)
    pairs = dataset.train.part(range(min(few, len(dataset.train.images))))
    batches = TrainBatches(pairs, model.tokenize, model.preprocess, seed=resolved.seed, batch_size=few, workers=0)
    batch: Batch = next(iter(batches.iterate(0, 1)))
    fit = Fit(few, activation_checkpointing=False)
    state = TrainState(model, resolved, fit)
    with SavedBytes(model) as saved:
        state.try_step(batch, fit)
    captions = model.tokenize(dataset.train.captions[: resolved.batch_size])  # whose longest makes all longer
    usual = replace(batch, tokens=batch.tokens[:, : without_padding(model.module, captions).shape[1]])
    return _timed(lambda: state.try_step(usual, fit), device) / few, saved.total // few


def _encoding(model: ClipModel, dataset: Dataset, device: torch.device) -> tuple[float, float]:
    """Seconds for each picture and each caption, as the measuring stages encode them."""
    few = min(FEW_PAIRS.get(device.type, DEFAULT_FEW), len(dataset.test.images))
    module: Any = model.module
    pixels = normalise(next(iter(evaluation_batches(dataset.test, few))), model.preprocess).to(device)
    tokens, embed_texts = model.tokenize(dataset.test.captions[:few]), text_encoder(model, device)
    with exact(module, device):
        module.encode_image(pixels[:1])
        embed_texts(tokens)  # finds out how much of them it needs
        images = _timed(lambda: module.encode_image(pixels), device) / len(pixels)
        captions = _timed(lambda: embed_texts(tokens), device) / len(tokens)
    return images, captions


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until `work` is done, on the device too."""
    begun = time.monotonic()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.monotonic() - begun


def _parameters(model: ClipModel) -> tuple[int, int]:
    """How many are trained, and how many are not."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.module.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, trained in sizes if not trained)


class SavedBytes:
    """Counts what autograd keeps for the way back, each piece of memory once, parameters left out."""

    def __init__(self, model: ClipModel) -> None:
        self.total = 0
        self._seen = {parameter.untyped_storage().data_ptr() for parameter in model.module.parameters()}
        self._kept: list[Tensor] = []
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def __enter__(self) -> "SavedBytes":
        self._hooks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.__exit__(None, None, None)
        self._kept.clear()

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._kept.append(tensor.detach())  # kept, so that its address is not given to another
            self.total += storage.nbytes()
        return tensor
