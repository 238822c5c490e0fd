"""A complete run's figures, as the status shows them."""

from finetune_sdk.api import FinetuneRun
from finetune_sdk.api.reasons import NO_GAIN
from finetune_sdk.api.status import Artifacts, RunEvaluation
from finetune_sdk.contract import Ended
from finetune_trainer.pipeline.layout import RESULT
from finetune_trainer.records import Outcome
from finetune_trainer.supervisor.ending import SUCCEEDED


def reason_of(outcome: Outcome) -> str:
    """Succeeded, or NoGain where the base is the model."""
    return NO_GAIN if outcome.selection.no_gain else SUCCEEDED


def result_of(outcome: Outcome, run: FinetuneRun) -> Ended:
    """The headline metric before and after, and where everything lies."""
    change = outcome.changes[outcome.metric]
    return Ended(
        evaluation=RunEvaluation(
            metric=outcome.metric,
            before=change.before,
            after=change.after,
            gain=change.gain,
            interval95=[change.interval95.low, change.interval95.high],
            verdict=outcome.verdict,
        ),
        artifacts=Artifacts(
            model=outcome.model_uri,
            report=outcome.report_uri,
            result=f"{run.spec.output.uri.rstrip('/')}/{RESULT}",
        ),
    )
