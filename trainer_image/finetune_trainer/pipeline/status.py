"""How far a run is, read from its output alone."""

from finetune_sdk.storage import Store
from finetune_trainer.checkpoint.find import find_checkpoints
from finetune_trainer.checkpoint.manifest import MANIFEST, checkpoint_key
from finetune_trainer.checkpoint.metrics import read_metrics
from finetune_trainer.display.table import RunStatus
from finetune_trainer.pipeline.documents import read_document
from finetune_trainer.pipeline.journal import RunProgress
from finetune_trainer.pipeline.layout import PROGRESS, RESULT
from finetune_trainer.pipeline.reporting import judge_gate
from finetune_trainer.pipeline.stored import read_run, spec_of
from finetune_trainer.records import Outcome


def read_status(output: Store) -> RunStatus:
    """What a person asks of a run. Raises DataInvalid where no run began."""
    run = read_run(output)
    progress = read_document(output, PROGRESS, RunProgress)
    outcome = read_document(output, RESULT, Outcome)
    lines = read_metrics(output)
    whole = [found.step for found in find_checkpoints(output) if found.whole]
    training = run.resolved.get("training") or {}
    return RunStatus(
        run=run.run,
        uri=output.uri,
        stage="done" if outcome else progress.stage if progress else "prepare",
        step=lines[-1].step if lines else 0,
        total_steps=training.get("total_steps"),
        last=lines[-1] if lines else None,
        validation=next((line.validation for line in reversed(lines) if line.validation), None),
        checkpoint_step=max(whole, default=None),
        checkpoint_uri=output.uri_of(checkpoint_key(max(whole), MANIFEST)).removesuffix(MANIFEST) if whole else "",
        updated_at=progress.updated_at if progress else run.started_at,
        attempts=progress.attempts if progress else 0,
        failure=progress.failure.message if progress and progress.failure else "",
        outcome=outcome,
        gate=judge_gate(spec_of(run), outcome) if outcome else None,
    )
