"""What a reader must know before believing the number; each is one sentence or two."""

from collections.abc import Iterator

from finetune_trainer.records import DataReport, Evaluation
from finetune_trainer.report.inputs import ReportInput
from finetune_trainer.report.text import count, metric_name, percent

FEW_IMAGES = 200
"""Below this many test images the bootstrap's interval is itself uncertain."""
SEED = (
    "The interval says how far another draw of test images could move the gain. It leaves out the luck of training: "
    "another seed gives a somewhat different model, which may lie outside it."
)


def caveats(given: ReportInput) -> list[str]:
    """Every caveat that applies, the gravest first."""
    found = list(about_queries(given.before, given.after))
    if given.data is not None:
        found += about_data(given.data)
    for when, evaluation in (("Before", given.before), ("After", given.after)):
        if evaluation is not None and given.headline:
            found += about_ties(when, evaluation, given.headline)
    if given.outcome is not None:
        found.append(SEED)
    return found


def about_queries(before: Evaluation | None, after: Evaluation | None) -> Iterator[str]:
    """Whether both measurements are comparable, and large enough."""
    if before is not None and after is not None and before.queries_digest != after.queries_digest:
        yield "Before and after were measured on different queries: their difference means nothing."
    measured = after or before
    if measured is not None and measured.images < FEW_IMAGES:
        yield (
            f"The test set has {count(measured.images, 'image')}. Under {FEW_IMAGES} the figures are coarse, and the "
            "interval may be too narrow: test on more before deciding anything."
        )


def about_data(data: DataReport) -> Iterator[str]:
    """What in the data bends the number."""
    if data.leaks_total and data.leakage == "report":
        yield (
            f"{count(data.leaks_total, 'training picture')} may also be in validation or test and stayed in training, "
            "as data.leakage: report asks. The after figures may be too high."
        )
    if data.rows_bad:
        yield f"Of {count(data.rows_read, 'row')}, {data.rows_bad:,} could not be used; no figure includes them."


def about_ties(when: str, evaluation: Evaluation, metric: str) -> Iterator[str]:
    """How far equal scores leave the headline open."""
    ties = evaluation.ties
    low, high = ties.pessimistic.get(metric), ties.optimistic.get(metric)
    if ties.queries and low is not None and high is not None:
        yield (
            f"{when} training, {count(ties.queries, 'query')} scored another candidate exactly as high as "
            f"the right one. With every tie lost or won, {metric_name(metric)} is {percent(low)} or {percent(high)}."
        )
