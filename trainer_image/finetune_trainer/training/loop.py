"""The loop around the step: validate, save, stop, and go on again as if nothing had happened."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

import torch

from finetune_sdk.errors import Diverged, Stopped
from finetune_trainer.checkpoint.saver import Checkpoints
from finetune_trainer.data.batches import Batch
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.progress import Progress
from finetune_trainer.records import Recalls, StepMetrics
from finetune_trainer.training.defaults import ResolvedTraining
from finetune_trainer.training.memory import Fit, fit_micro_batch, headroom, out_of_memory_told
from finetune_trainer.training.state import TrainState, Validation
from finetune_trainer.training.towers import set_training_mode

MAX_NOT_FINITE = 3
"""Steps in a row that may be left out before the run has diverged."""


class Batches(Protocol):
    """`TrainBatches`: any step's batch, as a pure function of the step."""

    def iterate(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Batches of steps `first_step` to `last_step`, the latter excluded; closed to stop early."""


class Stop(Protocol):
    """`StopFlag`: whether SIGTERM or SIGINT came."""

    @property
    def requested(self) -> bool:
        """True from then on."""


Validate = Callable[[ClipModel, int], tuple[float, Recalls]]
"""Measure a model, in evaluation mode, after a step: the selection score and what the metrics show."""


@dataclass(frozen=True)
class Cadence:
    """How often a checkpoint is saved, besides the best and the last: by time or by steps."""

    every_minutes: float | None = 10.0
    every_steps: int | None = None

    def is_due(self, step: int, seconds_since_last: float, *, busy: bool) -> bool:
        """Whether to save after `step` steps. By time only if no upload is `busy`: training never waits for one."""
        if self.every_steps is not None:
            return step % self.every_steps == 0
        return self.every_minutes is not None and not busy and seconds_since_last >= 60 * self.every_minutes


@dataclass(frozen=True)
class TrainJob:
    """What to train, and how."""

    model: ClipModel
    """With the base weights, on its device, frozen as it shall be."""
    batches: Batches
    resolved: ResolvedTraining
    validate: Validate
    cadence: Cadence = field(default_factory=Cadence)
    device_limit: Callable[[Fit], None] | None = None
    """Stands for a device with less memory: raises torch.OutOfMemoryError for what shall not fit."""


@dataclass(frozen=True)
class Trained:
    """How training ended. The model holds the weights of the last step."""

    step: int
    validations: tuple[Validation, ...]
    best_step: int | None
    """The step with the best validation, whose checkpoint is kept; None where none was measured."""
    stopped_early: bool
    fit: Fit


def train(
    job: TrainJob, checkpoints: Checkpoints, *, stop: Stop, progress: Progress, clock: Callable[[], float]
) -> Trained:
    """Train from the latest checkpoint to the last step; `clock` counts seconds and decides only when to save.

    Raises Stopped once a stop is saved, Diverged after three steps in a row that were not finite, OutOfGpuMemory, and
    what storage raises. A stop may also come as Stopped out of `progress` or `validate`, in mid-validation even.
    """
    with checkpoints:
        session = _Session(job, checkpoints, progress, clock)
        try:
            with out_of_memory_told(session.out_of_memory):
                session.begin()
                session.run(stop)
        except Stopped:
            raise Stopped(session.save_to_stop()) from None
        return session.result()


class _Session:
    """One attempt at a run."""

    def __init__(self, job: TrainJob, checkpoints: Checkpoints, progress: Progress, clock: Callable[[], float]) -> None:
        self._job = job
        self._checkpoints = checkpoints
        self._progress = progress
        self._clock = clock
        self._lines: list[StepMetrics] = []
        self._figures: dict[str, float] = {}
        self._pace = Pace(job.resolved.batch_size, clock)
        self._saved_at = clock()
        resolved = job.resolved
        self._evaluation_steps = frozenset(resolved.evaluation_steps)
        fit = Fit(resolved.micro_batch_size or resolved.batch_size, activation_checkpointing=False)
        with out_of_memory_told(_why_nothing_fits):
            self._state = TrainState(job.model, resolved, fit)

    def begin(self) -> None:
        """Restore what was saved, find what fits the device, and finish a step whose validation was cut off."""
        state, total = self._state, self._job.resolved.total_steps
        saved = self._restore()
        self._fit(saved)
        self._progress.start("train", total, "steps", done=state.step)
        if state.pending is not None or self._awaits_validation():
            self._settle()

    def run(self, stop: Stop) -> None:
        """Step after step: update, validate, save, tell, stop."""
        state, last = self._state, self._job.resolved.total_steps
        if self._is_finished():
            return
        with closing(_closable(self._job.batches.iterate(state.step, last))) as batches:
            for batch in batches:
                state.update(batch)
                self._settle()
                self._save_if_due()
                self._progress.advance(1, **self._figures, **self._pace.after_step())
                if stop.requested:
                    raise Stopped
                if self._is_finished():
                    break

    def result(self) -> Trained:
        """After the last step: wait until all is stored."""
        state = self._state
        self._checkpoints.add_lines(self._lines)
        best = state.history.best
        return Trained(
            step=state.step,
            validations=state.history.validations,
            best_step=best.step if best else None,
            stopped_early=state.step < self._job.resolved.total_steps,
            fit=state.fit,
        )

    def save_to_stop(self) -> str:
        """Save, unless a checkpoint is on its way already: then wait for that. Returns what the user is told."""
        step, total = self._state.step, self._job.resolved.total_steps
        if not self._checkpoints.busy and self._checkpoints.last_step != step and step > 0:
            self._save()
        self._checkpoints.wait()
        saved = self._checkpoints.last_step
        if saved is None:
            return "stopped before a step was saved: the same command goes on"
        return f"stopped, step {saved} of {total} is saved: the same command goes on from there"

    def out_of_memory(self, words: str) -> str:
        """What the user is told of memory that ran out in mid-step, where nothing can be tried any more."""
        micro_batch = self._state.fit.micro_batch
        return (
            f"out of memory in step {self._state.step + 1} with training.microBatchSize {micro_batch}, which fitted "
            f"before the first step: set it to {max(1, micro_batch // 2)} and run again ({words})"
        )

    def _restore(self) -> Fit | None:
        """The micro-batch of the checkpoint that was restored, None where there is none."""
        snapshot = self._checkpoints.resume()
        if snapshot is None:
            return None
        document = self._state.restore(snapshot)
        return Fit(document.micro_batch, document.activation_checkpointing)

    def _fit(self, saved: Fit | None) -> None:
        """Settle the micro-batch: the user's, or that of the checkpoint, or the largest; on CUDA only if it fits."""
        job, state = self._job, self._state
        given = job.resolved.micro_batch_size
        fit = saved if saved is not None and given is None else state.fit
        if state.device.type == "cuda" or job.device_limit is not None:
            wanted, fit = fit, self._probe(fit)
            if fit != wanted:
                self._progress.note(_what_fits(fit, str(state.device)))
        state.use(fit)
        if saved is not None and saved != fit:
            self._progress.note(
                f"going on with micro-batches of {fit.micro_batch} in place of {saved.micro_batch}: the same data in "
                "the same order, but the last bits of the weights will differ"
            )

    def _probe(self, start: Fit) -> Fit:
        job, state = self._job, self._state
        first = min(state.step, job.resolved.total_steps - 1)
        with closing(_closable(job.batches.iterate(first, first + 1))) as batches:
            batch = next(batches)
        held = headroom(state.device)

        def attempt(fit: Fit) -> None:
            if job.device_limit is not None:
                job.device_limit(fit)
            state.try_step(batch, fit)

        fit = fit_micro_batch(attempt, start=start, device=str(state.device))
        del held
        return fit

    def _settle(self) -> None:
        """Finish a step: leave its line, with what validation says where it is due."""
        state = self._state
        if state.not_finite:
            self._progress.note(f"step {state.step} is left out: its loss or gradient is not finite")
        if state.not_finite >= MAX_NOT_FINITE:
            raise Diverged(_why_diverged(state.step, self._job.resolved.learning_rate))
        measured = {}
        if self._awaits_validation():
            validation = self._validate()
            state.history = state.history.add(validation)
            measured = {"validation": {**validation.recalls, "score": validation.score}}
        if state.pending is not None:
            self._lines.append(state.pending.model_copy(update=measured))
            pending = state.pending
            self._figures = {"loss": pending.loss, "rate": pending.learning_rate, "epoch": pending.epoch}
            state.pending = None

    def _awaits_validation(self) -> bool:
        state = self._state
        measured = state.history.validations[-1].step if state.history.validations else 0
        return state.step > measured and state.step in self._evaluation_steps

    def _validate(self) -> Validation:
        model, step = self._job.model, self._state.step
        model.module.eval()
        try:
            with torch.no_grad():
                score, recalls = self._job.validate(model, step)
        finally:
            set_training_mode(model.module)
        return Validation(step=step, score=score, recalls=recalls)

    def _is_finished(self) -> bool:
        state, resolved = self._state, self._job.resolved
        return state.step >= resolved.total_steps or state.history.is_exhausted(resolved.patience)

    def _save_if_due(self) -> None:
        """The best on validation and the last step are saved always, so that selection finds them."""
        state = self._state
        best = state.history.best
        wanted = self._is_finished() or (best is not None and best.step == state.step)
        passed = self._clock() - self._saved_at
        if wanted or self._job.cadence.is_due(state.step, passed, busy=self._checkpoints.busy):
            self._save()

    def _save(self) -> None:
        state = self._state
        best = state.history.best
        pinned = frozenset({best.step}) if best else frozenset[int]()
        self._checkpoints.save(state.snapshot(), self._lines, pinned)
        self._lines = []
        self._saved_at = self._clock()


class Pace:
    """How many pairs a second were trained of late. `clock` counts seconds."""

    STEPS = 20

    def __init__(self, batch_size: int, clock: Callable[[], float]) -> None:
        self._batch_size = batch_size
        self._clock = clock
        self._times: deque[float] = deque(maxlen=self.STEPS + 1)

    def after_step(self) -> dict[str, float]:
        """The figure, by the name that displays know; nothing where no time has passed."""
        self._times.append(self._clock())
        passed = self._times[-1] - self._times[0]
        return {"samples_per_second": self._batch_size * (len(self._times) - 1) / passed} if passed > 0 else {}


def _closable(batches: Iterator[Batch]) -> Generator[Batch, None, None]:
    yield from batches


def _what_fits(fit: Fit, device: str) -> str:
    twice = ", with activations computed twice" if fit.activation_checkpointing else ""
    return f"training.microBatchSize is {fit.micro_batch}, the largest that fits {device}{twice}"


def _why_nothing_fits(words: str) -> str:
    return (
        "model and optimizer do not fit the device: use a smaller model, freeze a tower (training.freeze), "
        f"or a device with more memory ({words})"
    )


def _why_diverged(step: int, rate: float) -> str:
    first = step - MAX_NOT_FINITE + 1
    return (
        f"loss or gradient was not finite in the {MAX_NOT_FINITE} steps {first} to {step}: lower "
        f"training.optimizer.learningRate (now {rate:.3g}); the checkpoints hold weights from before"
    )
