"""A whole run, in the order of its stages. Each stage leaves its result in storage and is skipped when it is there."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from finetune_sdk.api import FinetuneRun
from finetune_sdk.errors import FinetuneError, GateNotMet, OutputInUse, TrainerError, WeightsInvalid
from finetune_trainer.data.prepare import Dataset
from finetune_trainer.data.processes import start_server
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.freeze import freeze
from finetune_trainer.model.load import load_model
from finetune_trainer.pipeline.attempt import Attempt, State, copy_state
from finetune_trainer.pipeline.begin import begin, open_output, resolve
from finetune_trainer.pipeline.card import model_card
from finetune_trainer.pipeline.data import prepare_stage
from finetune_trainer.pipeline.exporting import check_exports, export_stage
from finetune_trainer.pipeline.figures import (
    Metrics,
    baseline_stage,
    evaluate_stage,
    resolve_metrics,
    select_stage,
    validate_with,
)
from finetune_trainer.pipeline.hardware import (
    choose_device,
    describe_hardware,
    device_memory,
    hardware_notes,
    keep_freed_memory,
    loads_in_processes,
)
from finetune_trainer.pipeline.journal import Journal
from finetune_trainer.pipeline.log import LogTail, logger_of
from finetune_trainer.pipeline.owner import claim
from finetune_trainer.pipeline.reporting import conclude, judge_gate, publish
from finetune_trainer.pipeline.stop import stop_on_signals
from finetune_trainer.pipeline.tracked import tracked_run
from finetune_trainer.pipeline.training import check_training, resolved_training, train_stage
from finetune_trainer.pipeline.world import StoppingProgress, World
from finetune_trainer.records import GateResult, Outcome
from finetune_trainer.tracking.follow import Tracking
from finetune_trainer.training.defaults import ResolvedTraining
from finetune_trainer.training.precision import make_deterministic


@dataclass(frozen=True)
class Finished:
    """A complete run."""

    outcome: Outcome
    gate: GateResult | None

    def raise_for_gate(self) -> None:
        """Raise GateNotMet if there is a gate and it is missed; report, model and result exist either way."""
        if self.gate is not None and not self.gate.passed:
            raise GateNotMet(self.gate.message)


def run_pipeline(run: FinetuneRun, world: World) -> Finished:
    """Carry `run` out, or go on with it, or return what it came to if it is complete.

    Raises:
        FinetuneError: each ends the attempt with its own exit code; why is in progress.json too.
    """
    output = open_output(run.spec.output.uri, world)
    device, why = choose_device(world.env, run.spec.compute.gpus_per_node, ordered=world.gpus_are_ordered)
    begun = begin(run, output, world, device)
    if begun.outcome is not None:
        world.progress.note(f"this run is complete: {output.uri}")
        return Finished(begun.outcome, judge_gate(run.spec, begun.outcome))
    world.progress.note(why)
    make_deterministic(device, os.environ)
    keep_freed_memory(device)
    if loads_in_processes(device):
        start_server()
    fence = claim(output, run=run.metadata.uid or run.metadata.name, process=world.process, now=world.clock())
    log = LogTail(world.clock)
    journal = Journal(output, world.clock, world.progress.note, fence.check)
    for note in hardware_notes(begun.record.hardware, describe_hardware(device)):
        journal.note(note)
    progress = StoppingProgress(world.progress, world.stop, world.command, logger_of(log, run.metadata.name))
    attempt = Attempt(
        run=run,
        record=begun.record,
        output=output,
        fence=fence,
        journal=journal,
        progress=progress,
        world=world,
        device=device,
        log=log,
        tracking=Tracking(output, world.env, progress.note),
    )
    with stop_on_signals(world.stop, world.progress.note), attempt.tracking:
        return _guarded(attempt)


def _guarded(attempt: Attempt) -> Finished:
    """Whatever ends an attempt is told in storage too, as far as storage can be reached."""
    try:
        with device_memory(), tempfile.TemporaryDirectory(prefix="finetune-") as scratch:
            return _stages(attempt, Path(scratch))
    except FinetuneError as error:
        _leave_word(attempt, error)
        raise
    except Exception as error:
        bug = TrainerError(f"this is a bug: {type(error).__name__}: {error}")
        attempt.log.keep_traceback(error)
        _leave_word(attempt, bug)
        raise


def _leave_word(attempt: Attempt, error: FinetuneError) -> None:
    if isinstance(error, OutputInUse):  # nothing here is ours to write any more
        return
    try:
        attempt.journal.fail(error)
        attempt.keep_log()
    except FinetuneError as second:
        attempt.progress.note(f"why this attempt ended could not be stored: {second}")


@dataclass(frozen=True)
class _Ready:
    """What the stage `prepare` leaves in memory."""

    model: ClipModel
    base: State
    """The base's weights, for mixtures with them."""
    dataset: Dataset
    metrics: Metrics
    resolved: ResolvedTraining


def _stages(attempt: Attempt, scratch: Path) -> Finished:
    journal = attempt.journal
    with journal.stage("prepare"):
        ready = _prepare(attempt)
        model, dataset, metrics, alphas = ready.model, ready.dataset, ready.metrics, ready.resolved.alphas
    attempt.tracking.begin(tracked_run(attempt))
    with journal.stage("baseline"):
        before = baseline_stage(attempt, model, dataset.test, metrics)
        attempt.world.witness.measured(metrics.headline, before.retrieval.recalls[metrics.headline])
        attempt.tracking.measured(0, before.evaluation.metrics)
    with journal.stage("train"):
        validate = validate_with(attempt, dataset.validation)
        finetuned = train_stage(attempt, model, dataset, ready.resolved, validate, scratch)
    with journal.stage("select"):
        selection = select_stage(attempt, model, ready.base, finetuned, alphas, dataset.validation)
    with journal.stage("evaluate"):
        after = evaluate_stage(attempt, model, dataset.test, metrics, before, selection)
        attempt.tracking.measured(finetuned.trained.step, after.evaluation.metrics)
    with journal.stage("export"):
        if not journal.was_done("export"):
            card = model_card(attempt, model, metrics, (before, after), selection)
            export_stage(attempt, model, dataset.test, scratch, card)
    with journal.stage("report"):
        steps = finetuned.trained.step
        journal.keep(attempt.tracking.notes)
        outcome = conclude(attempt, model, metrics, (before, after), selection, steps)
        attempt.keep_log()
        publish(attempt, outcome)
    attempt.tracking.complete()
    journal.done()
    return Finished(outcome, judge_gate(attempt.spec, outcome))


def _prepare(attempt: Attempt) -> _Ready:
    spec, journal = attempt.spec, attempt.journal
    model = load_model(
        spec.model,
        stores=attempt.world.open,
        cache_root=attempt.world.cache_root,
        device=attempt.device,
        seed=spec.training.seed,
    )
    _check_base(attempt, model)
    dataset = prepare_stage(attempt, model)
    metrics = resolve_metrics(attempt, dataset.test)
    for note in (*model.notes, *freeze(model, spec.training.freeze)):
        journal.note(note)
    check_training(model, spec.training)
    check_exports(model, spec.output.exports)
    resolved = resolved_training(attempt, model, len(dataset.train.images))
    values = {
        "training": resolved.as_dict(),
        "data": {"pictures": dataset.report.pictures},
        "evaluation": {"recallAt": list(metrics.ks), "metric": metrics.headline},
        "model": {"name": model.name, "source": model.source, "digest": model.digest},
    }
    attempt.record = resolve(attempt.output, attempt.record, values)
    return _Ready(model, copy_state(model.module), dataset, metrics, resolved)


def _check_base(attempt: Attempt, model: ClipModel) -> None:
    """Raise WeightsInvalid where the base is not the one that an earlier attempt has measured."""
    known = attempt.record.resolved.get("model", {}).get("digest", model.digest)
    if known != model.digest:
        raise WeightsInvalid(
            f"the base weights at {model.source} changed since this run began (SHA-256 {known[:12]} then, "
            f"{model.digest[:12]} now): bring the old ones back, or use another output.uri than {attempt.output.uri}"
        )
