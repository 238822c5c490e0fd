"""The loop: order of what happens, stopping, going on, diverging, running out of memory."""

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from finetune_sdk.errors import Diverged, OutOfGpuMemory, Stopped
from finetune_trainer.checkpoint.find import find_checkpoints
from finetune_trainer.checkpoint.metrics import read_metrics
from finetune_trainer.checkpoint.saver import Checkpoints
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.digest import weights_digest
from finetune_trainer.records import Recalls, StepMetrics
from finetune_trainer.training.loop import Cadence
from finetune_trainer.training.memory import Fit
from finetune_trainer.training.state import TrainState
from tests.support.training import Flag, Run, make_batch, make_run, parts_of, resolved_for, score_of, small_model


def digest(model: ClipModel) -> str:
    return weights_digest(model.module.state_dict())


def steps_in(run: Run) -> list[int]:
    return [found.step for found in find_checkpoints(run.store) if found.whole]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[StepMetrics]]:
    """The weights and metrics of six steps that nothing interrupts."""
    run = make_run(tmp_path_factory.mktemp("undisturbed"))
    _, model = run.start()
    return digest(model), read_metrics(run.store)


def test_a_run_trains_to_its_last_step(undisturbed: tuple[str, list[StepMetrics]]) -> None:
    weights, lines = undisturbed
    assert weights != digest(small_model())
    assert [line.step for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line.step for line in lines if line.validation] == [2, 4, 6]
    assert set(lines[-1].validation or {}) == {"image_retrieval_recall@1", "score"}


def test_the_loss_falls_on_one_batch() -> None:
    model = small_model()
    state = TrainState(model, resolved_for(30, learning_rate=2e-3), Fit(8, activation_checkpointing=False))
    losses = []
    for _ in range(30):
        state.update(make_batch(model, 0))
        assert state.pending is not None
        losses.append(state.pending.loss)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("killed_at", range(6))
@pytest.mark.parametrize("every", [1, 4])
def test_killed_before_any_step_it_goes_on_to_the_same_bits(
    tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]], killed_at: int, every: int
) -> None:
    run = make_run(tmp_path, cadence=Cadence(None, every))
    with pytest.raises(KeyboardInterrupt):
        run.start(killed_at=killed_at)
    _, model = run.start()
    assert (digest(model), read_metrics(run.store)) == undisturbed


def test_killed_again_and_again_it_goes_on_to_the_same_bits(
    tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]]
) -> None:
    run, draw = make_run(tmp_path, cadence=Cadence(None, 2)), random.Random(5)  # noqa: S311
    for _ in range(4):
        with suppress(KeyboardInterrupt):
            run.start(killed_at=draw.randrange(6))
    _, model = run.start()
    assert (digest(model), read_metrics(run.store)) == undisturbed


def test_when_it_saves_changes_no_weight(tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]]) -> None:
    run = make_run(tmp_path, cadence=Cadence(None, None))
    _, model = run.start()
    assert (digest(model), read_metrics(run.store)) == undisturbed


def test_a_stop_finishes_the_step_saves_and_says_how_to_go_on(
    tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]]
) -> None:
    run = make_run(tmp_path, cadence=Cadence(None, None))
    with pytest.raises(Stopped, match="stopped, step 1 of 6 is saved: the same command goes on from there"):
        run.start(stop=Flag(requested=True))
    assert steps_in(run) == [1]
    _, model = run.start()
    assert (digest(model), read_metrics(run.store)) == undisturbed


def test_stopped_at_every_step_it_still_comes_to_the_same_bits(
    tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]]
) -> None:
    run = make_run(tmp_path, cadence=Cadence(None, None))
    for step in range(1, 7):
        with pytest.raises(Stopped, match=f"step {step} of 6"):
            run.start(stop=Flag(requested=True))
    _, model = run.start(stop=Flag(requested=True))
    assert (digest(model), read_metrics(run.store)) == undisturbed


@pytest.mark.parametrize("stopped_at", [2, 4, 6])
def test_stopped_in_the_midst_of_validation_it_validates_when_it_goes_on(
    tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]], stopped_at: int
) -> None:
    run = make_run(tmp_path, cadence=Cadence(None, None))

    def stop_there(model: ClipModel, step: int) -> tuple[float, Recalls]:
        if step == stopped_at:
            raise Stopped("asked while encoding")
        return score(model, step)

    score, run.validate = run.validate, stop_there
    with pytest.raises(Stopped, match=f"step [2-{stopped_at}] of 6 is saved"):
        run.start()
    run.validate = score
    _, model = run.start()
    assert (digest(model), read_metrics(run.store)) == undisturbed


def assert_set(event: threading.Event) -> None:
    assert event.wait(60)


def test_a_stop_waits_for_the_upload_in_flight_and_begins_no_other(
    tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = Checkpoints.wait
    upload_may_end, run, stop = threading.Event(), make_run(tmp_path, cadence=Cadence(None, None)), Flag()
    run.guard = lambda: assert_set(upload_may_end)
    upload_may_end.set()  # for the guard before anything is removed

    def end_and_wait(checkpoints: Checkpoints) -> None:
        upload_may_end.set()
        wait(checkpoints)

    def stop_at_4(model: ClipModel, step: int) -> tuple[float, Recalls]:
        if step == 2:
            upload_may_end.clear()
        else:
            stop.requested = True
            monkeypatch.setattr(Checkpoints, "wait", end_and_wait)
        return score_of(model, 0)[0] if step == 2 else -1e9, {"image_retrieval_recall@1": 0.5}

    run.validate = stop_at_4
    with pytest.raises(Stopped, match="step 2 of 6 is saved"):
        run.start(stop=stop)
    assert steps_in(run) == [2]
    run.validate = score_of
    assert digest(run.start()[1]) == undisturbed[0]


def test_a_finished_run_does_nothing_but_return_its_weights(
    tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]]
) -> None:
    run = make_run(tmp_path)
    first, _ = run.start()
    again, model = run.start(killed_at=0)
    assert again == first
    assert digest(model) == undisturbed[0]


def test_micro_batches_of_a_checkpoint_are_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path, resolved=resolved_for(micro_batch_size=None))
    run.job["device_limit"] = limit(4)
    with pytest.raises(KeyboardInterrupt):
        run.start(killed_at=3)
    run.job["device_limit"] = limit(8)
    trained, _ = run.start()
    assert trained.fit == Fit(4, activation_checkpointing=False)


def scores(*values: float) -> Callable[[ClipModel, int], tuple[float, Recalls]]:
    """Validation that says these, at steps 2, 4, ..."""
    return lambda _model, step: (values[step // 2 - 1], {})


def test_the_best_and_the_latest_are_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path, resolved=resolved_for(10), validate=scores(0.1, 0.5, 0.5, 0.3, 0.2))
    trained, _ = run.start()
    assert trained.best_step == 4
    assert steps_in(run) == [4, 9, 10]


def test_the_best_is_saved_even_if_the_cadence_never_is(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, resolved=resolved_for(10), cadence=Cadence(None, None), validate=scores(0.5, 0.1, 0.4, 0.3, 0.2)
    )
    run.start()
    assert steps_in(run) == [2, 10]


EARLY = {
    "never better than the first": ((0.5, 0.4, 0.4, 0.4, 0.4), 2, 6, True),
    "equal is not better": ((0.5, 0.5, 0.5, 0.9, 0.9), 2, 6, True),
    "better in time": ((0.5, 0.4, 0.6, 0.5, 0.7), 2, 10, False),
    "no patience: never": ((0.5, 0.4, 0.3, 0.2, 0.1), None, 10, False),
}


@pytest.mark.parametrize(("values", "patience", "last", "early"), EARLY.values(), ids=EARLY)
def test_early_stopping(
    tmp_path: Path, values: tuple[float, ...], patience: int | None, last: int, early: bool
) -> None:
    run = make_run(tmp_path, resolved=resolved_for(10, patience=patience), validate=scores(*values))
    trained, _ = run.start()
    assert (trained.step, trained.stopped_early) == (last, early)
    assert run.start(killed_at=last)[0] == trained, "it stays stopped"


def test_time_decides_when_to_save_once_no_upload_is_busy() -> None:
    cadence = Cadence(every_minutes=10)
    assert not cadence.is_due(5, 599, busy=False)
    assert cadence.is_due(5, 600, busy=False)
    assert not cadence.is_due(5, 600, busy=True)


def poisoned(steps: set[int]) -> Callable[[], ClipModel]:
    """Images of those steps (their number of forward passes) become NaN inside the tower."""

    def make() -> ClipModel:
        model, calls = small_model(), iter(range(1000))

        def spoil(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            return output * float("nan") if next(calls) in steps else output

        parts_of(model).visual.register_forward_hook(spoil)
        return model

    return make


def test_a_step_that_is_not_finite_touches_no_weight(tmp_path: Path) -> None:
    model = poisoned({0})()
    state = TrainState(model, resolved_for(), Fit(8, activation_checkpointing=False))
    before = digest(model)
    state.update(make_batch(model, 0))
    assert (digest(model), state.step, state.not_finite, state.pending) == (before, 1, 1, None)
    state.update(make_batch(model, 1))
    assert state.not_finite == 0
    assert digest(model) != before


def test_a_step_that_is_left_out_is_told_and_has_no_line(tmp_path: Path) -> None:
    run = make_run(tmp_path, make_model=poisoned({2}), validate=scores(0.1, 0.2, 0.3))
    run.start()
    assert run.progress.notes == ["step 3 is left out: its loss or gradient is not finite"]
    assert [line.step for line in read_metrics(run.store)] == [1, 2, 4, 5, 6]
    assert run.progress.steps == 6


def test_three_steps_in_a_row_have_diverged_and_the_good_checkpoint_stays(tmp_path: Path) -> None:
    run = make_run(tmp_path, make_model=poisoned({2, 3, 4}), cadence=Cadence(None, 2), validate=scores(0.3, 0.2, 0.1))
    with pytest.raises(Diverged, match=r"the 3 steps 3 to 5: lower training.optimizer.learningRate \(now 0.0005\)"):
        run.start()
    assert 2 in steps_in(run)


def test_fp16s_search_for_a_scale_is_not_divergence() -> None:
    model = small_model()
    state = TrainState(model, resolved_for(), Fit(8, activation_checkpointing=False))
    state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = digest(model)
    state.update(make_batch(model, 0))
    assert (state.not_finite, digest(model)) == (0, before)
    assert state.scaler.get_scale() == 2.0**126


def limit(pairs: int, twice: int = 0) -> Callable[[Fit], None]:
    """A device that takes so many pairs, and `twice` with activations computed twice."""

    def attempt(fit: Fit) -> None:
        if fit.micro_batch > (twice if fit.activation_checkpointing else pairs):
            raise torch.OutOfMemoryError(f"{fit.micro_batch} pairs")

    return attempt


LIMITS = {
    "all fits": (limit(8), Fit(8, activation_checkpointing=False), []),
    "a quarter fits": (
        limit(3),
        Fit(2, activation_checkpointing=False),
        ["training.microBatchSize is 2, the largest that fits cpu"],
    ),
    "only with activation checkpointing": (
        limit(0, 4),
        Fit(4, activation_checkpointing=True),
        ["training.microBatchSize is 4, the largest that fits cpu, with activations computed twice"],
    ),
}


@pytest.mark.parametrize(("device_limit", "fit", "notes"), LIMITS.values(), ids=LIMITS)
def test_the_micro_batch_is_halved_until_it_fits(
    tmp_path: Path, device_limit: Callable[[Fit], None], fit: Fit, notes: list[str]
) -> None:
    run = make_run(tmp_path, resolved=resolved_for(2), job={"device_limit": device_limit})
    trained, _ = run.start()
    assert trained.fit == fit
    assert run.progress.notes == notes


def test_if_not_even_one_pair_fits_the_run_ends_with_its_own_error(tmp_path: Path) -> None:
    run = make_run(tmp_path, job={"device_limit": limit(0)})
    with pytest.raises(OutOfGpuMemory, match=r"not even one pair fits cpu .* freeze a tower"):
        run.start()


def test_probing_changes_no_weight_and_no_later_step(
    tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]]
) -> None:
    run = make_run(tmp_path, job={"device_limit": limit(8)})
    _, model = run.start()
    assert (digest(model), read_metrics(run.store)) == undisturbed


def test_memory_that_runs_out_in_mid_step_is_not_tried_again(tmp_path: Path) -> None:
    def exhausted() -> ClipModel:
        model = small_model()
        parts_of(model).visual.register_forward_hook(lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
        return model

    with pytest.raises(OutOfGpuMemory, match=r"out of memory in step 1 with training.microBatchSize 8.* set it to 4"):
        make_run(tmp_path, make_model=exhausted).start()


def test_activations_computed_twice_give_the_same_loss(
    tmp_path: Path, undisturbed: tuple[str, list[StepMetrics]]
) -> None:
    run = make_run(tmp_path, job={"device_limit": limit(0, 8)})
    run.start()
    losses = [line.loss for line in read_metrics(run.store)]
    assert losses == pytest.approx([line.loss for line in undisturbed[1]], rel=1e-5)


def test_going_on_with_other_micro_batches_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run.start(killed_at=2)
    run.resolved = replace(run.resolved, micro_batch_size=2)
    run.start()
    assert len(run.progress.notes) == 1
    assert "going on with micro-batches of 2 in place of 8: the same data in the same order" in run.progress.notes[0]
