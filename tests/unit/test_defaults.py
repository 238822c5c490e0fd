"""What training uses where the user wrote nothing: DESIGN section 4's table, and what bends it."""

import json
import math
from typing import Any

import pytest

from finetune_sdk.api.training import Training
from finetune_sdk.errors import DataInvalid, InvalidSpec
from finetune_trainer.training.defaults import (
    DeviceTraits,
    ModelTraits,
    ResolvedTraining,
    model_traits,
    resolve_training,
)
from finetune_trainer.training.precision import choose_precision
from tests.support.training import parts_of, small_model

VIT_B = ModelTraits(loss="clip", random=False, image_parameters=88_000_000)
CPU = DeviceTraits("cpu")
FROZEN = {"image": {"all": True}, "text": {"all": True}}


def resolve(
    n_images: int, *, model: ModelTraits = VIT_B, device: DeviceTraits = CPU, every: Any = "auto", **training: Any
) -> ResolvedTraining:
    return resolve_training(
        Training.model_validate(training), every=every, n_images=n_images, model=model, device=device
    )[0]


FIVE, THREE = (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.5, 1.0)
TABLE = {
    "1k": (1_000, 64, 30, 5e-6, 0.1, FIVE, 4),
    "30k": (30_000, 256, 10, 1e-5, 0.1, FIVE, 4),
    "3M": (3_000_000, 2048, 2, 2e-5, 0.05, THREE, None),
    "below the table as its first column": (600, 64, 30, 5e-6, 0.1, FIVE, 4),
    "above the table as its last column": (50_000_000, 2048, 2, 2e-5, 0.05, THREE, None),
    "halfway between 1k and 30k in log N": (5_477, 128, 17, 7.071e-6, 0.1, FIVE, 4),
    "just past halfway between 30k and 3M in log N": (310_000, 1024, 4, 1.4212e-5, 0.0746, THREE, None),
}


@pytest.mark.parametrize(("n", "batch", "epochs", "rate", "warmup", "alphas", "patience"), TABLE.values(), ids=TABLE)
def test_the_table(
    n: int, batch: int, epochs: int, rate: float, warmup: float, alphas: tuple[float, ...], patience: int | None
) -> None:
    got = resolve(n)
    assert (got.batch_size, got.epochs, got.alphas, got.patience) == (batch, epochs, alphas, patience)
    assert got.learning_rate == pytest.approx(rate, rel=1e-3)
    assert got.warmup_fraction == pytest.approx(warmup, rel=1e-3)
    assert got.total_steps == math.ceil(epochs * n / batch)
    assert (got.betas, got.epsilon, got.weight_decay, got.clip_norm) == ((0.9, 0.98), 1e-6, 0.1, 1.0)


BATCHES = {
    "an eighth of a small set": (400, 50),
    "at least eight pairs": (40, 8),
    "or all that there are": (5, 5),
    "two are the least": (2, 2),
}


@pytest.mark.parametrize(("n_images", "batch"), BATCHES.values(), ids=BATCHES)
def test_the_batch_of_small_sets(n_images: int, batch: int) -> None:
    assert resolve(n_images).batch_size == batch


L, H, G = (
    ModelTraits(loss="clip", random=False, image_parameters=size) for size in (304_000_000, 632_000_000, 1_011_000_000)
)
RATES = {
    "ViT-L halves it": (L, {}, 5e-6),
    "ViT-H takes 0.3": (H, {}, 3e-6),
    "ViT-g takes 0.3": (G, {}, 3e-6),
    "random weights": (ModelTraits(loss="clip", random=True, image_parameters=88_000_000), {}, 5e-4),
    "projections only": (VIT_B, {"freeze": FROZEN}, 1e-3),
    "LoRA": (VIT_B, {"lora": {}}, 1e-4),
    "LoRA from random weights": (
        ModelTraits(loss="clip", random=True, image_parameters=88_000_000),
        {"lora": {"rank": 4}},
        1e-4,
    ),
    "one frozen tower is not projections only": (VIT_B, {"freeze": {"text": {"all": True}}}, 1e-5),
    "twice the batch by the square root": (VIT_B, {"batchSize": 512}, 1.4142e-5),
    "half the batch by the square root": (VIT_B, {"batchSize": 128}, 0.7071e-5),
    "a huge batch doubles it at most": (VIT_B, {"batchSize": 8192}, 2e-5),
    "the default batch, written out": (VIT_B, {"batchSize": 256}, 1e-5),
    "the user's own rate is not scaled": (L, {"batchSize": 512, "optimizer": {"learningRate": 3e-5}}, 3e-5),
    "a rate of 0 is a rate": (VIT_B, {"optimizer": {"learningRate": 0.0}}, 0.0),
}


@pytest.mark.parametrize(("model", "training", "rate"), RATES.values(), ids=RATES)
def test_the_rate(model: ModelTraits, training: dict[str, Any], rate: float) -> None:
    assert resolve(30_000, model=model, **training).learning_rate == pytest.approx(rate, rel=1e-3)


LENGTHS = {
    "epochs round up to whole steps": ({"epochs": 3, "batchSize": 64}, 47, 3.0),
    "steps as given": ({"steps": 10, "batchSize": 100}, 10, 1.0),
    "one epoch of one batch": ({"epochs": 1, "batchSize": 1000}, 1, 1.0),
}


@pytest.mark.parametrize(("training", "steps", "epochs"), LENGTHS.values(), ids=LENGTHS)
def test_the_length(training: dict[str, Any], steps: int, epochs: float) -> None:
    got = resolve(1000, **training)
    assert (got.total_steps, got.epochs) == (steps, epochs)
    assert got.warmup_steps < got.total_steps


EVALUATIONS = {
    "ten a run": ("auto", 100, (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)),
    "fewer steps than evaluations": ("auto", 3, (1, 2, 3)),
    "one step": ("auto", 1, (1,)),
    "every 4 steps and the last": (4, 10, (4, 8, 10)),
    "rarer than the run is long": (50, 10, (10,)),
}


@pytest.mark.parametrize(("every", "steps", "expected"), EVALUATIONS.values(), ids=EVALUATIONS)
def test_validation_comes_after(every: Any, steps: int, expected: tuple[int, ...]) -> None:
    assert resolve(1000, every=every, steps=steps).evaluation_steps == expected


PRECISIONS = {
    "an H100": ("auto", "cuda", 9, "bf16"),
    "an A100": ("auto", "cuda", 8, "bf16"),
    "a T4": ("auto", "cuda", 7, "fp16"),
    "a CPU": ("auto", "cpu", 0, "fp32"),
    "Apple's GPU": ("auto", "mps", 0, "fp32"),
    "fp32 is had everywhere": ("fp32", "cuda", 7, "fp32"),
    "bf16 on a CPU if wished": ("bf16", "cpu", 0, "bf16"),
}


@pytest.mark.parametrize(("wanted", "device", "capability", "expected"), PRECISIONS.values(), ids=PRECISIONS)
def test_precision(wanted: str, device: str, capability: int, expected: str) -> None:
    assert choose_precision(wanted, device, capability) == expected


@pytest.mark.parametrize(("wanted", "device"), [("fp16", "cpu"), ("bf16", "mps"), ("bf16", "cuda")])
def test_a_precision_that_the_device_lacks_is_refused_by_name(wanted: str, device: str) -> None:
    with pytest.raises(InvalidSpec, match=f"training.precision: {wanted} does not work on .*use auto or fp32"):
        choose_precision(wanted, device, 7)


MICRO = {
    "CUDA probes": (DeviceTraits("cuda", 8), {}, None),
    "a CPU takes 64": (CPU, {}, 64),
    "the user's number": (DeviceTraits("cuda", 8), {"microBatchSize": 16}, 16),
    "never more than the batch": (CPU, {"microBatchSize": 9999}, 256),
}


@pytest.mark.parametrize(("device", "training", "expected"), MICRO.values(), ids=MICRO)
def test_the_micro_batch(device: DeviceTraits, training: dict[str, Any], expected: int | None) -> None:
    assert resolve(30_000, device=device, **training).micro_batch_size == expected


def test_a_batch_larger_than_the_data_is_refused_in_words() -> None:
    with pytest.raises(InvalidSpec, match=r"training.batchSize: 512 pairs, but only 100 .* use at most 100"):
        resolve(100, batchSize=512)


@pytest.mark.parametrize("n_images", [0, 1])
def test_one_image_is_too_few(n_images: int) -> None:
    with pytest.raises(DataInvalid, match="at least 2"):
        resolve(n_images)


def test_patience_0_never_stops_early_and_alphas_hold_the_base() -> None:
    got = resolve(1000, earlyStopping={"patience": 0}, wiseft={"alphas": [1, 0.3]})
    assert (got.patience, got.alphas) == (None, (0.0, 0.3, 1.0))


def test_the_loss_is_that_of_the_weights_unless_written() -> None:
    siglip = ModelTraits(loss="siglip", random=False, image_parameters=88_000_000)
    assert resolve(1000, model=siglip).loss == "siglip"
    assert resolve(1000, model=siglip, loss="clip").loss == "clip"


def test_choices_are_told() -> None:
    _, notes = resolve_training(Training(), every="auto", n_images=1000, model=VIT_B, device=CPU)
    assert notes == [
        "training.batchSize is 64 for 1000 training images",
        "training.epochs is 30 (469 steps)",
        "training.optimizer.learningRate is 5e-06 for 1000 images and 88 M parameters",
    ]


def test_every_value_goes_to_run_json() -> None:
    document = json.loads(json.dumps(resolve(1000).as_dict()))
    assert document["total_steps"] == 469
    assert document["evaluation_steps"][-1] == 469


def test_traits_are_read_off_the_model() -> None:
    model = small_model()
    traits = model_traits(model)
    assert (traits.loss, traits.random) == ("clip", True)
    assert traits.image_parameters == sum(parameter.numel() for parameter in parts_of(model).visual.parameters())
