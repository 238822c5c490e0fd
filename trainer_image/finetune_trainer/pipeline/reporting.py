"""The stage `report`: report.html and, last of all, result.json; and both read back from any output."""

from collections.abc import Callable
from datetime import datetime

from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.storage import Store
from finetune_trainer.checkpoint.metrics import read_metrics
from finetune_trainer.evaluation.gate import judge, sentence, verdict
from finetune_trainer.evaluation.measure import Measured, changes
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.digest import weights_digest
from finetune_trainer.pipeline.attempt import Attempt
from finetune_trainer.pipeline.documents import read_document, write_document
from finetune_trainer.pipeline.figures import Metrics
from finetune_trainer.pipeline.journal import RunProgress
from finetune_trainer.pipeline.layout import (
    AFTER,
    BEFORE,
    EXAMPLES,
    MODEL,
    PREPARE,
    PROGRESS,
    REPORT,
    RESULT,
    SELECT,
)
from finetune_trainer.pipeline.reproduce import reproduce_command
from finetune_trainer.pipeline.stored import read_run, spec_of
from finetune_trainer.records import (
    DataReport,
    Evaluation,
    Examples,
    GateResult,
    Outcome,
    Selection,
)
from finetune_trainer.report.inputs import ReportInput
from finetune_trainer.report.render import render_report


def conclude(
    attempt: Attempt,
    model: ClipModel,
    metrics: Metrics,
    figures: tuple[Measured, Measured],
    selection: Selection,
    steps: int,
) -> Outcome:
    """What came out, from the figures before and after. Writes nothing."""
    changed = changes(*figures, seed=attempt.spec.training.seed)
    change = changed[metrics.headline]
    return Outcome(
        digest=attempt.record.digest,
        metric=metrics.headline,
        changes=changed,
        verdict=verdict(change, selection.no_gain),
        sentence=sentence(metrics.headline, change, selection.no_gain),
        selection=selection,
        steps=steps,
        model_uri=f"{attempt.output.uri_of(MODEL)}/",
        report_uri=attempt.output.uri_of(REPORT),
        weights_digest=weights_digest(model.module.state_dict()),
        timings=attempt.journal.progress.timings,
        notes=attempt.journal.progress.notes,
        completed_at=attempt.world.clock(),
    )


def publish(attempt: Attempt, outcome: Outcome) -> None:
    """Write the report, then the result: from then on the run is complete."""
    page = render_report(gather(attempt.output, attempt.world.clock, outcome))
    attempt.output.write(REPORT, page.encode())
    attempt.fence.check()
    write_document(attempt.output, RESULT, outcome)


def judge_gate(spec: FinetuneRunSpec, outcome: Outcome) -> GateResult | None:
    """The gate's verdict on stored figures; None without a gate."""
    gate = spec.evaluation.gate
    return judge(gate, outcome.metric, outcome.changes) if gate else None


def gather(output: Store, clock: Callable[[], datetime], outcome: Outcome | None = None) -> ReportInput:
    """All that a run has left so far. `outcome` in place of the stored result, which comes last.

    Raises:
        DataInvalid: no run began there.
    """
    run = read_run(output)
    outcome = outcome or read_document(output, RESULT, Outcome)
    progress = read_document(output, PROGRESS, RunProgress)
    training = run.resolved.get("training") or {}
    data = read_document(output, PREPARE, DataReport)
    return ReportInput(
        run=run,
        rendered_at=clock(),
        data=data,
        before=read_document(output, BEFORE, Evaluation),
        after=read_document(output, AFTER, Evaluation),
        selection=read_document(output, SELECT, Selection),
        outcome=outcome,
        examples=read_document(output, EXAMPLES, Examples),
        metrics=read_metrics(output),
        gate=judge_gate(spec_of(run), outcome) if outcome else None,
        reproduce=reproduce_command(output.uri, outcome) if outcome else "",
        stage=progress.stage if progress else "",
        total_steps=training.get("total_steps"),
        failure=progress.failure.message if progress and progress.failure else "",
    )
