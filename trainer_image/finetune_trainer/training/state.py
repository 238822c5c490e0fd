"""All that training knows: weights, optimizer, scaler, step, and what validation said. It resumes from this alone."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from finetune_sdk.api.base import Schema
from finetune_sdk.errors import WeightsInvalid
from finetune_trainer.checkpoint.snapshot import Snapshot, copy_to_host
from finetune_trainer.data.batches import Batch, normalise
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.lora import load_training_state, training_state
from finetune_trainer.model.padding import without_padding
from finetune_trainer.records import Recalls, StepMetrics
from finetune_trainer.training.defaults import ResolvedTraining
from finetune_trainer.training.loss import loss_by_name
from finetune_trainer.training.memory import Fit
from finetune_trainer.training.optimizer import (
    clamp_logit_scale,
    clip_gradients,
    logit_scale_limit,
    make_optimizer,
    set_rate,
    trained_parameters,
)
from finetune_trainer.training.precision import autocast_of, make_scaler
from finetune_trainer.training.schedule import learning_rate
from finetune_trainer.training.step import Pairs, StepSettings, contrastive_gradients
from finetune_trainer.training.towers import set_training_mode

WEIGHTS = "weights"
OPTIMIZER = "optimizer"


class Validation(Schema):
    """What validation said after a step."""

    step: int
    score: float
    recalls: Recalls


class StateDocument(Schema):
    """state.json of a checkpoint: what is no tensor."""

    version: Literal[1] = 1
    step: int
    """Steps that are done."""
    micro_batch: int
    activation_checkpointing: bool
    scaler: dict[str, float]
    not_finite: int
    """Steps in a row, up to this one, that were left out."""
    validations: list[Validation]
    pending: StepMetrics | None
    """The last step's line, where validation is still to be measured after it."""


@dataclass(frozen=True)
class History:
    """The validations of a run, oldest first."""

    validations: tuple[Validation, ...] = ()

    def add(self, validation: Validation) -> "History":
        """The same with one more."""
        return History((*self.validations, validation))

    @property
    def best(self) -> Validation | None:
        """The highest score; of equal ones the first."""
        return max(self.validations, key=lambda validation: validation.score, default=None)

    def is_exhausted(self, patience: int | None) -> bool:
        """Whether the last `patience` validations brought no new best."""
        if patience is None or self.best is None:
            return False
        return len(self.validations) - 1 - self.validations.index(self.best) >= patience


class TrainState:
    """A model in training. `update` moves optimizer, schedule and step counter together."""

    def __init__(self, model: ClipModel, resolved: ResolvedTraining, fit: Fit) -> None:
        """`model` holds the base weights, frozen as it will be; they decide how far the logit scale may rise."""
        self.model = model
        self.resolved = resolved
        self.fit = fit
        self.step = 0
        self.not_finite = 0
        self.history = History()
        self.pending: StepMetrics | None = None
        self.device = next(model.module.parameters()).device
        self.scaler = make_scaler(resolved.precision, self.device)
        self.optimizer = make_optimizer(
            model.module,
            weight_decay=resolved.weight_decay,
            betas=resolved.betas,
            epsilon=resolved.epsilon,
            layer_decay=resolved.layer_decay,
        )
        self._limit = logit_scale_limit(model.module, resolved.loss)
        set_training_mode(model.module)

    def use(self, fit: Fit) -> None:
        """Take another micro-batch from now on."""
        if fit.activation_checkpointing and not self.fit.activation_checkpointing:
            module: Any = self.model.module
            module.set_grad_checkpointing(True)
        self.fit = fit

    def update(self, batch: Batch) -> None:
        """One optimizer step; its line of metrics becomes `pending`.

        A step whose loss or gradient is not finite changes no weights and leaves no line: `not_finite` counts it. What
        fp16's scaler answers with a smaller scale is not counted, as it is how that scale is found.
        """
        rate = learning_rate(
            self.step,
            peak=self.resolved.learning_rate,
            warmup_steps=self.resolved.warmup_steps,
            total_steps=self.resolved.total_steps,
        )
        loss, norm = self._gradients(replace(batch, tokens=without_padding(self.model.module, batch.tokens)))
        self.step += 1
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._leave_out(loss)
            return
        set_rate(self.optimizer, rate)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        clamp_logit_scale(self.model.module, self._limit)
        self.not_finite = 0
        scale: Any = self.model.module.logit_scale
        self.pending = StepMetrics(
            step=self.step,
            epoch=batch.epoch,
            loss=loss,
            learning_rate=rate,
            logit_scale=float(scale.detach().exp()),
            gradient_norm=norm,
        )

    def try_step(self, batch: Batch, fit: Fit) -> None:
        """What `update` does with memory, but no weight changes. Raises torch.OutOfMemoryError.

        Captions take their whole context, padding too: those of a later batch may.
        """
        self.use(fit)
        try:
            self._gradients(batch)
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler = make_scaler(self.resolved.precision, self.device)

    def _gradients(self, batch: Batch) -> tuple[float, float]:
        """Fill `.grad`, clipped; return loss and gradient norm. Reading them waits for the device: one sync a step."""
        self.optimizer.zero_grad(set_to_none=True)
        pairs = Pairs(batch.images, batch.tokens, batch.image_ids, batch.caption_ids).to(self.device)
        settings = StepSettings(
            loss=loss_by_name(self.resolved.loss),
            micro_batch=self.fit.micro_batch,
            seed=self.resolved.seed,
            pixels=lambda images: normalise(images, self.model.preprocess),
            autocast=autocast_of(self.resolved.precision, self.device),
        )
        loss = contrastive_gradients(self.model.module, pairs, settings, step=self.step, scale_loss=self.scaler.scale)
        self.scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.optimizer, self.resolved.clip_norm)
        loss_value, norm_value = torch.stack([loss, norm]).tolist()
        return loss_value, norm_value

    def _leave_out(self, loss: float) -> None:
        self.pending = None
        searching = self.scaler.is_enabled() and math.isfinite(loss) and self.scaler.get_scale() > 1
        self.scaler.update()
        if not searching:
            self.not_finite += 1

    def snapshot(self) -> Snapshot:
        """A copy in host memory that later steps do not touch."""
        document = StateDocument(
            step=self.step,
            micro_batch=self.fit.micro_batch,
            activation_checkpointing=self.fit.activation_checkpointing,
            scaler=self.scaler.state_dict(),
            not_finite=self.not_finite,
            validations=list(self.history.validations),
            pending=self.pending,
        )
        tensors = {
            WEIGHTS: copy_to_host(training_state(self.model.module)),
            OPTIMIZER: copy_to_host(self._optimizer_tensors()),
        }
        return Snapshot(self.step, tensors, document.model_dump_json(by_alias=True, indent=2).encode() + b"\n")

    def restore(self, snapshot: Snapshot) -> StateDocument:
        """Become what `snapshot` was taken of, but for the micro-batch: the caller decides with what is returned.

        Raises WeightsInvalid if it was taken of another model.
        """
        document = StateDocument.model_validate_json(snapshot.document)
        try:
            load_training_state(self.model.module, snapshot.tensors[WEIGHTS])
        except RuntimeError as error:
            raise WeightsInvalid(f"checkpoint step-{snapshot.step} does not fit the model: {error}") from error
        mine, saved = self._optimizer_tensors(), snapshot.tensors[OPTIMIZER]
        if mine.keys() != saved.keys():
            odd = min(mine.keys() ^ saved.keys())
            raise WeightsInvalid(f"checkpoint step-{snapshot.step} trains other parameters than this run: {odd}")
        for name, tensor in mine.items():
            tensor.copy_(saved[name])
        if document.scaler:
            self.scaler.load_state_dict(document.scaler)
        self.step, self.not_finite, self.pending = document.step, document.not_finite, document.pending
        self.history = History(tuple(document.validations))
        return document

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        """AdamW's moments and step counts by parameter: "exp_avg.visual.proj"."""
        return {
            f"{field}.{name}": tensor
            for name, parameter in trained_parameters(self.model.module).items()
            for field, tensor in self.optimizer.state[parameter].items()
        }
