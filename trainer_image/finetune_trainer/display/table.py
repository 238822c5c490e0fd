"""What a command prints as its result: small tables for 80 columns, ASCII but for what the user wrote."""

from dataclasses import dataclass
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from finetune_trainer.evaluation.interval import interval_notes
from finetune_trainer.records import Evaluation, GateResult, MetricChange, Outcome, Recalls, StepMetrics
from finetune_trainer.report.caveats import about_queries
from finetune_trainer.report.text import count, duration, in_order, percent, points, printable


@dataclass(frozen=True)
class RunStatus:
    """What `finetune status` tells of an output, also of a run that was killed or made elsewhere."""

    run: str
    uri: str
    """Of the output."""
    stage: str
    """The last stage that left something, or 'done'."""
    step: int = 0
    """Steps whose metrics are stored."""
    total_steps: int | None = None
    last: StepMetrics | None = None
    """The last line of the metrics."""
    validation: Recalls | None = None
    """The last validation, with "score" among its figures."""
    checkpoint_step: int | None = None
    """The newest whole checkpoint."""
    checkpoint_uri: str = ""
    updated_at: datetime | None = None
    """UTC, of the newest object."""
    attempts: int = 0
    """How often the run was started."""
    failure: str = ""
    """Why the last attempt ended early, as its user was told."""
    outcome: Outcome | None = None
    gate: GateResult | None = None


def table_of(*columns: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for index, name in enumerate(columns):
        made.add_column(name, justify="right" if index else "left", no_wrap=True)
    return made


def show_result(outcome: Outcome, console: Console, gate: GateResult | None = None) -> None:
    """The end of a run: every metric before and after with the headline first, the verdict, where the results lie."""
    table = table_of("metric", "before", "after", "gain", "95 % interval")
    others = [metric for metric in in_order(outcome.changes) if metric != outcome.metric]
    for metric in [*([outcome.metric] if outcome.metric in outcome.changes else []), *others]:
        headline = metric == outcome.metric
        name = f"{metric} *" if headline else metric
        table.add_row(
            name, *change_words(outcome.changes[metric]), style="bold" if headline else None, end_section=headline
        )
    console.print(table)
    console.print(
        f"* the headline metric; gains in percentage points, {test_size(outcome)}\n", style="dim", soft_wrap=True
    )
    console.print(printable(outcome.sentence), style="bold")
    for caveat in few_images(outcome):
        console.print(caveat)
    show_gate(gate, console)
    console.print()
    show_pairs(
        {"model": outcome.model_uri, "report": outcome.report_uri, "time": duration(sum(outcome.timings.values()))},
        console,
    )


def change_words(change: MetricChange) -> list[str]:
    """The cells of one metric."""
    interval = f"{points(change.interval95.low, '-')} to {points(change.interval95.high, '-')}"
    return [percent(change.before), percent(change.after), points(change.gain, "-"), interval]


def test_images(outcome: Outcome) -> int:
    """How many images the figures were measured on."""
    return next((change.interval95.images for change in outcome.changes.values()), 0)


def few_images(outcome: Outcome) -> list[str]:
    """A warning where the test set is small."""
    return interval_notes(test_images(outcome))[:-1]


def test_size(outcome: Outcome) -> str:
    """'1,000 test images'."""
    return count(test_images(outcome), "test image")


def show_gate(gate: GateResult | None, console: Console) -> None:
    """The gate's verdict, where there is a gate."""
    if gate is not None:
        console.print(gate.message)


def show_pairs(pairs: dict[str, str], console: Console) -> None:
    """Names and values, a line each: a long URI is never broken, so that it can be copied."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        if value:
            console.print(f"{name:<{width}}  {printable(value)}", soft_wrap=True)


def show_evaluation(evaluation: Evaluation, console: Console, uri: str = "") -> None:
    """One model's recall on one source; `uri` is where the result was written."""
    table = table_of("metric", "recall", *(["lost ties", "won ties"] if evaluation.ties.queries else []))
    for metric in in_order(evaluation.metrics):
        table.add_row(metric, percent(evaluation.metrics[metric]), *tie_words(evaluation, metric))
    console.print(table)
    measured = f"{count(evaluation.images, 'image')}, {count(evaluation.captions, 'caption')}"
    console.print(f"\n{evaluation.model} ({evaluation.pretrained}) on {evaluation.dataset}: {measured}", soft_wrap=True)
    for caveat in about_queries(None, evaluation):
        console.print(caveat)
    show_pairs({"result": uri}, console)


def tie_words(evaluation: Evaluation, metric: str) -> list[str]:
    """The recall with every tie lost and won, where there are ties."""
    ties = evaluation.ties
    if not ties.queries:
        return []
    return [percent(side[metric]) if metric in side else "" for side in (ties.pessimistic, ties.optimistic)]


def show_status(status: RunStatus, console: Console) -> None:
    """How far a run is, and its result where there is one."""
    show_pairs(
        {
            "run": status.run,
            "output": status.uri,
            "stage": status.stage,
            "step": step_words(status),
            "loss": f"{status.last.loss:.4g}" if status.last else "",
            "rate": f"{status.last.learning_rate:.3g}" if status.last else "",
            "validation": validation_words(status.validation),
            "checkpoint": checkpoint_words(status),
            "attempts": str(status.attempts) if status.attempts else "",
            "ended by": printable(status.failure),
            "updated": f"{status.updated_at:%Y-%m-%d %H:%M:%S} UTC" if status.updated_at else "",
        },
        console,
    )
    if status.outcome is not None:
        console.print()
        show_result(status.outcome, console, status.gate)


def step_words(status: RunStatus) -> str:
    """'120 of 300 (40 %), epoch 4.0'."""
    if not status.step and not status.total_steps:
        return ""
    of = f" of {status.total_steps:,} ({100 * status.step / status.total_steps:.0f} %)" if status.total_steps else ""
    return f"{status.step:,}{of}" + (f", epoch {status.last.epoch:.1f}" if status.last else "")


def validation_words(recalls: Recalls | None) -> str:
    """'score 41.2 %, image_retrieval_recall@5 52.0 %': the score, then what it is made of at 5, which fits a line."""
    found = recalls or {}
    wanted = ("score", "image_retrieval_recall@5", "text_retrieval_recall@5")
    return ", ".join(f"{name} {percent(found[name])}" for name in wanted if name in found)


def checkpoint_words(status: RunStatus) -> str:
    """'step 100, s3://...'."""
    return "" if status.checkpoint_step is None else f"step {status.checkpoint_step:,}  {status.checkpoint_uri}"
