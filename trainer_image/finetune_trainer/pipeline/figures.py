"""The stages that measure: `baseline`, validation while training, `select` and `evaluate`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from finetune_sdk.errors import ObjectNotFound
from finetune_trainer.data.types import Split
from finetune_trainer.evaluation.examples import find_examples
from finetune_trainer.evaluation.kept import decode_outcomes, encode_outcomes
from finetune_trainer.evaluation.measure import Measured, headline, measure, resolve_ks
from finetune_trainer.evaluation.selection import Validated, choose, interpolate, score_ks, selection_score
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.digest import weights_digest
from finetune_trainer.pipeline.attempt import Attempt
from finetune_trainer.pipeline.documents import read_document, write_document
from finetune_trainer.pipeline.layout import (
    AFTER,
    AFTER_OUTCOMES,
    BEFORE,
    BEFORE_OUTCOMES,
    EXAMPLES,
    SELECT,
)
from finetune_trainer.pipeline.training import Finetuned, install
from finetune_trainer.records import Evaluation, Recalls, Selection


@dataclass(frozen=True)
class Metrics:
    """What is measured on the test set."""

    ks: tuple[int, ...]
    headline: str


def resolve_metrics(attempt: Attempt, test: Split) -> Metrics:
    """The k of recall@k and the headline metric. Raises InvalidSpec for a k above the number of candidates."""
    evaluation = attempt.spec.evaluation
    ks, notes = resolve_ks(evaluation.recall_at, len(test.images))
    for note in notes:
        attempt.journal.note(note)
    return Metrics(ks, headline(evaluation.metric, ks))


def baseline_stage(attempt: Attempt, model: ClipModel, test: Split, metrics: Metrics) -> Measured:
    """The base model on the test queries; once for all attempts."""
    return _measured_once(
        attempt,
        (BEFORE, BEFORE_OUTCOMES),
        lambda: measure(model, test, metrics.ks, device=attempt.device, progress=attempt.progress, stage="baseline"),
    )


def validate_with(attempt: Attempt, validation: Split) -> Callable[[ClipModel, int], tuple[float, Recalls]]:
    """The callback of training: selection score and recalls on validation."""

    def validate(model: ClipModel, _step: int) -> tuple[float, Recalls]:
        found = _validated(attempt, model, validation, 0, 1.0)
        return selection_score(found.retrieval), found.retrieval.recalls

    return validate


def select_stage(
    attempt: Attempt,
    model: ClipModel,
    base: Mapping[str, Tensor],
    finetuned: Finetuned,
    alphas: Sequence[float],
    validation: Split,
) -> Selection:
    """Choose among checkpoints and mixtures with the base; afterwards the model holds the chosen weights."""
    selection = read_document(attempt.output, SELECT, Selection)
    if selection is None:
        tried = [(step, alpha) for step in sorted(finetuned.states) for alpha in alphas if alpha > 0]
        attempt.progress.start("select", len(tried) + 1, "candidates")
        install(model, dict(base))
        floor = _validated(attempt, model, validation, 0, 0.0)
        attempt.progress.advance()
        candidates = []
        for step, alpha in tried:
            install(model, interpolate(base, finetuned.states[step], alpha))
            candidates.append(_validated(attempt, model, validation, step, alpha))
            attempt.progress.advance()
        selection = choose(floor, candidates)
        write_document(attempt.output, SELECT, selection)
    chosen = selection.chosen
    install(model, dict(base) if selection.no_gain else interpolate(base, finetuned.states[chosen.step], chosen.alpha))
    return selection


def evaluate_stage(
    attempt: Attempt, model: ClipModel, test: Split, metrics: Metrics, before: Measured, selection: Selection
) -> Measured:
    """The chosen weights on the same test queries, and the queries whose rank changed most."""

    def again() -> Measured:
        if selection.no_gain:
            return before  # the same weights: the same figures, without computing them twice
        return measure(
            model,
            test,
            metrics.ks,
            device=attempt.device,
            progress=attempt.progress,
            stage="evaluate",
            weights_digest=weights_digest(model.module.state_dict()),
        )

    after = _measured_once(attempt, (AFTER, AFTER_OUTCOMES), again)
    write_document(attempt.output, EXAMPLES, find_examples(before, after, test))
    return after


def _measured_once(attempt: Attempt, keys: tuple[str, str], make: Callable[[], Measured]) -> Measured:
    """What an earlier attempt measured, else `make`'s; the document is written last and says that all is there."""
    document, outcomes = keys
    evaluation = read_document(attempt.output, document, Evaluation)
    if evaluation is not None:
        try:
            return decode_outcomes(evaluation, attempt.output.read(outcomes))
        except ObjectNotFound:
            attempt.progress.note(f"{attempt.output.uri_of(outcomes)} is gone: measuring again")
    measured = make()
    attempt.output.write(outcomes, encode_outcomes(measured))
    attempt.fence.check()
    write_document(attempt.output, document, measured.evaluation)
    return measured


def _validated(attempt: Attempt, model: ClipModel, validation: Split, step: int, alpha: float) -> Validated:
    found = measure(
        model,
        validation,
        score_ks(len(validation.images)),
        device=attempt.device,
        progress=attempt.progress.quiet(),
        stage="validate",
    )
    return Validated(step, alpha, found.retrieval)
