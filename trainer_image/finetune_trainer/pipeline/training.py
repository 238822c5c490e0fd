"""The stage `train`, and the weights that it leaves for selection to choose from."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from finetune_sdk.api.training import Training
from finetune_trainer.checkpoint.find import load_weights
from finetune_trainer.checkpoint.metrics import join_metrics
from finetune_trainer.checkpoint.saver import Checkpoints
from finetune_trainer.data.batches import TrainBatches
from finetune_trainer.data.prepare import Dataset
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.lora import add_lora, check_lora, has_lora, load_training_state, merge_lora, merged_state
from finetune_trainer.pipeline.attempt import Attempt
from finetune_trainer.pipeline.hardware import loads_in_processes
from finetune_trainer.records import Recalls
from finetune_trainer.training.defaults import (
    DeviceTraits,
    ResolvedTraining,
    model_traits,
    resolve_training,
)
from finetune_trainer.training.loop import Cadence, Trained, TrainJob, train
from finetune_trainer.training.optimizer import layer_factors
from finetune_trainer.training.precision import device_capability

MAX_WORKERS = 16
"""Threads or processes that crop and resize; more only wait for one another."""
WORKERS_VARIABLE = "FINETUNE_LOADER_WORKERS"
"""For tests and odd machines: the weights are the same for any number."""


@dataclass(frozen=True)
class Finetuned:
    """Weights after training, by the step they were taken at: the last, and the best on validation."""

    states: dict[int, dict[str, Tensor]]
    trained: Trained


def resolved_training(attempt: Attempt, model: ClipModel, n_images: int) -> ResolvedTraining:
    """What training uses: as an earlier attempt resolved it, else from spec, data and device."""
    if stored := attempt.record.resolved.get("training"):
        return restore_resolved(stored)
    resolved, notes = resolve_training(
        attempt.spec.training,
        every=attempt.spec.evaluation.every,
        n_images=n_images,
        model=model_traits(model),
        device=DeviceTraits(attempt.device.type, device_capability(attempt.device)),
    )
    for note in notes:
        attempt.journal.note(note)
    return resolved


def check_training(model: ClipModel, training: Training) -> None:
    """Raise InvalidSpec, before anything is measured, for what the model cannot do; call after `freeze`."""
    layer_factors(model.module, training.optimizer.layer_decay)
    if training.lora is not None:
        check_lora(model)


def restore_resolved(stored: dict[str, Any]) -> ResolvedTraining:
    """`ResolvedTraining.as_dict` as it comes back from JSON."""
    return TypeAdapter(ResolvedTraining).validate_python(stored)


def train_stage(
    attempt: Attempt,
    model: ClipModel,
    dataset: Dataset,
    resolved: ResolvedTraining,
    validate: Callable[[ClipModel, int], tuple[float, Recalls]],
    scratch: Path,
) -> Finetuned:
    """Train, or go on from the latest checkpoint; a training that is done costs one look at its last checkpoint."""
    spec = attempt.spec.checkpoints
    batches = _batches(attempt, model, dataset, resolved)
    checkpoints = Checkpoints(
        attempt.output,
        keep=spec.keep,
        guard=attempt.fence.check,
        scratch=scratch,
        note=attempt.progress.note,
        saved=attempt.saved,
    )
    if (lora := attempt.spec.training.lora) is not None:
        attempt.progress.note(add_lora(model, lora, resolved.seed))
    job = TrainJob(
        model=model,
        batches=batches,
        resolved=resolved,
        validate=validate,
        cadence=_cadence(spec.every_minutes, spec.every_steps),
    )
    trained = train(job, checkpoints, stop=attempt.world.stop, progress=attempt.progress, clock=time.monotonic)
    model.module.eval()
    attempt.tracking.trained(join_metrics(attempt.output))
    states = {trained.step: merged_state(model.module)}
    if trained.best_step is not None and trained.best_step != trained.step:
        states[trained.best_step] = _whole_weights(model, load_weights(attempt.output, trained.best_step, scratch))
    merge_lora(model.module)
    model.module.requires_grad_(False)
    if trained.stopped_early:
        attempt.journal.note(
            f"training stopped early at step {trained.step} of {resolved.total_steps}: "
            f"{resolved.patience} evaluations brought no new best on validation"
        )
    return Finetuned(states, trained)


def install(model: ClipModel, state: dict[str, Tensor]) -> None:
    """Give the model these weights."""
    with torch.no_grad():
        model.module.load_state_dict(state)


def _whole_weights(model: ClipModel, saved: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's weights under the names of the model without adapters."""
    if not has_lora(model.module):
        return saved
    load_training_state(model.module, saved)
    return merged_state(model.module)


def _cadence(every_minutes: float | None, every_steps: int | None) -> Cadence:
    if every_steps is not None:
        return Cadence(every_minutes=None, every_steps=every_steps)
    return Cadence() if every_minutes is None else Cadence(every_minutes=every_minutes)


def _batches(attempt: Attempt, model: ClipModel, dataset: Dataset, resolved: ResolvedTraining) -> TrainBatches:
    return TrainBatches(
        dataset.train,
        model.tokenize,
        model.preprocess,
        seed=resolved.seed,
        batch_size=resolved.batch_size,
        workers=_workers(attempt),
        processes=loads_in_processes(attempt.device),
        progress=attempt.progress,
    )


def _workers(attempt: Attempt) -> int:
    asked = attempt.world.env.get(WORKERS_VARIABLE, "")
    return int(asked) if asked.isdecimal() else min(MAX_WORKERS, attempt.record.hardware.cpus)
