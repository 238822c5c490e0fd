"""Every number that training needs, from what the user wrote and, for the rest, from how many images there are.

The table is DESIGN section 4's. N is the number of training images, B the batch.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from finetune_sdk.api.training import Training
from finetune_sdk.errors import DataInvalid, InvalidSpec
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.training.loss import LossName
from finetune_trainer.training.precision import PrecisionName, choose_precision
from finetune_trainer.training.towers import tower_parameters

ANCHORS = (1_000, 30_000, 3_000_000)
"""Numbers of images that the table's columns stand for; what lies between them is interpolated in log N."""
BATCH = (64, 256, 2048)
EPOCHS = (30, 10, 2)
RATE = (5e-6, 1e-5, 2e-5)
"""Full fine-tuning of a ViT-B."""
WARMUP = (0.1, 0.1, 0.05)
ALPHAS = ((0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.5, 1.0))
PATIENCE = (4, 4, None)
LARGE = math.sqrt(ANCHORS[1] * ANCHORS[2])
"""300,000: from here on the last column is nearer in log N, for values that cannot be interpolated."""

PROJECTION_RATE = 1e-3
RANDOM_RATE = 5e-4
LORA_RATE = 1e-4
SIZE_FACTORS = ((200e6, 1.0), (500e6, 0.5), (math.inf, 0.3))
"""Image towers below so many parameters, and the factor on the rate: B has 88 million, L 304, H 632, g 1,011."""
MAX_BATCH_FACTOR = 2.0
"""A batch that the user set scales the rate by the square root, at most by this."""
SMALL_BATCH = 8
"""N / 8 pairs leave a contrastive loss too few negatives where N is tiny: up to this many are taken all the same."""
EVALUATIONS = 10
CPU_MICRO_BATCH = 64
"""On a CPU nothing probes the memory; a ViT-B-32's activations of so many pairs take about 3 GB."""

BETAS = (0.9, 0.98)
EPSILON = 1e-6
CLIP_NORM = 1.0


@dataclass(frozen=True)
class ModelTraits:
    """What the defaults need to know of a model."""

    loss: LossName
    random: bool
    """Whether it starts from random weights."""
    image_parameters: int


@dataclass(frozen=True)
class DeviceTraits:
    """What the defaults need to know of a device."""

    kind: str
    """'cuda', 'mps' or 'cpu'."""
    capability: int = 0
    """The major number of the compute capability; 0 where there is none."""


@dataclass(frozen=True)
class ResolvedTraining:
    """Every value that training uses; run.json holds them."""

    n_images: int
    batch_size: int
    micro_batch_size: int | None
    """None: the largest that the memory probe finds."""
    epochs: float
    total_steps: int
    learning_rate: float
    warmup_fraction: float
    warmup_steps: int
    weight_decay: float
    betas: tuple[float, float]
    epsilon: float
    clip_norm: float
    loss: LossName
    precision: PrecisionName
    alphas: tuple[float, ...]
    """WiSE-FT's mixtures, ascending; 0 is among them."""
    evaluation_steps: tuple[int, ...]
    """Validation follows the steps of these numbers (the first step is number 1); the last step is among them."""
    patience: int | None
    """Evaluations without a new best after which training stops; None: never."""
    seed: int
    layer_decay: float = 1.0
    """The rate's factor from each block to the one before it."""

    def as_dict(self) -> dict[str, Any]:
        """For run.json."""
        return asdict(self)


def model_traits(model: ClipModel) -> ModelTraits:
    """Read off a model."""
    size = sum(parameter.numel() for parameter in tower_parameters(model.module, "image"))
    return ModelTraits(loss=model.loss, random=model.source == "random", image_parameters=size)


def resolve_training(
    training: Training, *, every: int | Literal["auto"], n_images: int, model: ModelTraits, device: DeviceTraits
) -> tuple[ResolvedTraining, list[str]]:
    """Fill in all that the user left out; `every` is `evaluation.every`. Returns also what the user should be told.

    Raises:
        InvalidSpec: a batch larger than the data, or a precision that the device lacks.
        DataInvalid: fewer than two training images.
    """
    if n_images < 2:
        raise DataInvalid(
            f"data: {n_images} training image is left: a contrastive loss needs at least 2, 200 make sense"
        )
    batch, batch_factor = _batch(training, n_images)
    total_steps, epochs = _length(training, n_images, batch)
    rate, why = _rate(training, n_images, model, batch_factor)
    warmup = training.schedule.warmup_fraction
    warmup = _between(n_images, WARMUP) if warmup is None else warmup
    resolved = ResolvedTraining(
        n_images=n_images,
        batch_size=batch,
        micro_batch_size=_micro_batch(training, batch, device),
        epochs=epochs,
        total_steps=total_steps,
        learning_rate=rate,
        warmup_fraction=warmup,
        warmup_steps=min(round(warmup * total_steps), total_steps - 1),
        weight_decay=training.optimizer.weight_decay,
        betas=BETAS,
        epsilon=EPSILON,
        clip_norm=CLIP_NORM,
        loss=model.loss if training.loss == "auto" else training.loss,
        precision=choose_precision(training.precision, device.kind, device.capability),
        alphas=_alphas(training, n_images),
        evaluation_steps=_evaluation_steps(every, total_steps),
        patience=_patience(training, n_images),
        seed=training.seed,
        layer_decay=training.optimizer.layer_decay,
    )
    return resolved, _notes(training, resolved, why, model)


def _column(n_images: int) -> int:
    """The nearest column of the table for values that cannot be interpolated."""
    return 2 if n_images >= LARGE else 0


def _between(n_images: int, values: Sequence[float], *, geometric: bool = False) -> float:
    """Interpolate a row of the table in log N, beyond the anchors its end values; geometric: its logarithm."""
    places = [math.log(anchor) for anchor in ANCHORS]
    heights = [math.log(value) for value in values] if geometric else [float(value) for value in values]
    place = min(max(math.log(n_images), places[0]), places[-1])
    left = 0 if place <= places[1] else 1
    share = (place - places[left]) / (places[left + 1] - places[left])
    height = heights[left] + share * (heights[left + 1] - heights[left])
    return math.exp(height) if geometric else height


def _batch(training: Training, n_images: int) -> tuple[int, float]:
    """The batch, and the factor on the default rate that comes with a batch that the user set."""
    table = 2 ** round(math.log2(_between(n_images, BATCH, geometric=True)))
    default = min(table, max(n_images // 8, min(n_images, SMALL_BATCH)))
    wanted = training.batch_size
    if wanted is None:
        return default, 1.0
    if wanted > n_images:
        raise InvalidSpec(
            f"training.batchSize: {wanted} pairs, but only {n_images} training images are left of the data: "
            f"use at most {n_images}, or leave it out for {default}"
        )
    return wanted, min(MAX_BATCH_FACTOR, math.sqrt(wanted / default))


def _length(training: Training, n_images: int, batch: int) -> tuple[int, float]:
    """The number of steps, and how many epochs they make."""
    if training.steps is not None:
        return training.steps, training.steps * batch / n_images
    table = round(_between(n_images, EPOCHS, geometric=True))
    epochs = table if training.epochs is None else training.epochs
    return max(1, math.ceil(epochs * n_images / batch)), float(epochs)


def _rate(training: Training, n_images: int, model: ModelTraits, batch_factor: float) -> tuple[float, str]:
    """The peak rate, and what it is for."""
    if training.optimizer.learning_rate is not None:
        return training.optimizer.learning_rate, "as given"
    frozen = [tower is not None and tower.all is True for tower in (training.freeze.image, training.freeze.text)]
    if all(frozen):
        return PROJECTION_RATE * batch_factor, "for projections, as both towers are frozen"
    if training.lora is not None:
        return LORA_RATE * batch_factor, "for LoRA"
    if model.random:
        return RANDOM_RATE * batch_factor, "for random weights"
    factor = next(factor for limit, factor in SIZE_FACTORS if model.image_parameters < limit)
    table = _between(n_images, RATE, geometric=True)
    return table * factor * batch_factor, f"for {n_images} images and {model.image_parameters / 1e6:.0f} M parameters"


def _micro_batch(training: Training, batch: int, device: DeviceTraits) -> int | None:
    if training.micro_batch_size != "auto":
        return min(training.micro_batch_size, batch)
    return None if device.kind == "cuda" else min(CPU_MICRO_BATCH, batch)


def _alphas(training: Training, n_images: int) -> tuple[float, ...]:
    given = training.wiseft.alphas
    return tuple(sorted({0.0, *(ALPHAS[_column(n_images)] if given is None else given)}))


def _patience(training: Training, n_images: int) -> int | None:
    given = training.early_stopping.patience
    return (PATIENCE[_column(n_images)] if given is None else given) or None


def _evaluation_steps(every: int | Literal["auto"], total_steps: int) -> tuple[int, ...]:
    if every == "auto":
        shares = range(1, EVALUATIONS + 1)
        return tuple(sorted({max(1, total_steps * share // EVALUATIONS) for share in shares}))
    return tuple(sorted({*range(every, total_steps + 1, every), total_steps}))


def _notes(training: Training, resolved: ResolvedTraining, why: str, model: ModelTraits) -> list[str]:
    """One sentence for each choice that a user may want to make differently."""
    notes = []
    if training.batch_size is None:
        notes.append(f"training.batchSize is {resolved.batch_size} for {resolved.n_images} training images")
    if training.epochs is None and training.steps is None:
        notes.append(f"training.epochs is {resolved.epochs:g} ({resolved.total_steps} steps)")
    if training.optimizer.learning_rate is None:
        notes.append(f"training.optimizer.learningRate is {resolved.learning_rate:.2g} {why}")
    if resolved.loss != model.loss:
        notes.append(f"training.loss is {resolved.loss}, but the weights were made with {model.loss}")
    return notes
