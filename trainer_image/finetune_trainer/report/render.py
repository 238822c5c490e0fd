"""Renders report.html: one file that needs no network and no script, from the documents of a run."""

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from finetune_trainer.records import DataReport, Evaluation, MetricChange, Outcome, QueryExample, StepMetrics
from finetune_trainer.report import charts, text
from finetune_trainer.report.caveats import caveats
from finetune_trainer.report.inputs import ReportInput

FOLDER = Path(__file__).parent
SHOWN_EXAMPLES = 10
"""Wins, and losses."""
SHOWN_ROWS = 200
"""Bad rows and leaks in the report; prepare.json has more."""
LONGEST = 2_000
"""Characters of one caption or file name in the report."""


def render_report(given: ReportInput) -> str:
    """The whole HTML document.

    A run without a result is rendered as far as it came and says so. Everything in the documents is taken as hostile
    text: it is escaped, and a content security policy forbids scripts, network and foreign styles.
    """
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    page = environment().get_template("template.html.j2")
    html = page.render(
        given=given,
        style=Markup(style),  # noqa: S704  our own file
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        verdict=verdict(given),
        recall=recall_groups(given),
        examples=example_groups(given),
        curves=curves(given),
        alpha=alpha(given),
        data=data_view(given.data),
        provenance=provenance(given),
        caveats=caveats(given),
        notes=given.outcome.notes if given.outcome else [],
    )
    return text.printable(html)


@cache
def environment() -> Environment:
    """Jinja with escaping on and misspelt names refused."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        percent=text.percent,
        points=text.points,
        count=text.count,
        metric_name=text.metric_name,
        moment=lambda when: f"{when:%Y-%m-%d %H:%M} UTC",
        short=lambda digest: digest.removeprefix("v1:")[:12],
        cut=cut,
    )
    return made


def cut(content: str) -> str:
    """At most LONGEST characters; a cut is shown."""
    return content if len(content) <= LONGEST else content[:LONGEST] + " …"


@dataclass(frozen=True)
class Verdict:
    """The top of the report."""

    title: str
    sentence: str
    change: MetricChange | None = None
    chart: str = ""


def verdict(given: ReportInput) -> Verdict:
    """The result's sentence, or how far the run came."""
    outcome = given.outcome
    if outcome is None:
        return Verdict("Not finished", standing(given))
    change = outcome.changes.get(outcome.metric)
    drawn = drawing(charts.headline_chart(change, text.metric_name(outcome.metric))) if change else ""
    return Verdict(text.VERDICTS[outcome.verdict], text.unbroken(outcome.sentence), change, drawn)


def standing(given: ReportInput) -> str:
    """Where a run without a result is, in a sentence."""
    step = given.metrics[-1].step if given.metrics else 0
    of = f" of {given.total_steps:,}" if given.total_steps else ""
    where = f" in stage {given.stage}" if given.stage else ""
    trained = f", {'after' if where else 'at'} step {step:,}{of}" if step else ""
    if given.failure:
        return f"This run ended without a result{where}{trained}."
    return f"This run has no result yet: it is{where or ' under way'}{trained}, or was stopped there."


def drawing(svg: str) -> Markup:
    """SVG of ours, which escapes every text that it was given."""
    return Markup(svg)  # noqa: S704


@dataclass(frozen=True)
class RecallRow:
    """A row of the recall table."""

    k: int
    headline: bool
    before: float | None
    change: MetricChange | None
    strip: str


@dataclass(frozen=True)
class RecallGroup:
    """A direction of the recall table."""

    title: str
    explained: str
    rows: Sequence[RecallRow]


def recall_groups(given: ReportInput) -> list[RecallGroup]:
    """Both directions, all k; before training is done, the base's figures alone."""
    changes = given.outcome.changes if given.outcome else {}
    before: Mapping[str, float] = given.before.metrics if given.before else {}
    domain = charts.gain_domain(list(changes.values())) if changes else (0.0, 1.0)
    rows: dict[str, list[RecallRow]] = {}
    for metric in text.in_order({**before, **changes}):
        change = changes.get(metric)
        base = change.before if change else before.get(metric)
        strip = drawing(charts.gain_strip(change, domain)) if change else ""
        direction, k = text.split_metric(metric)
        rows.setdefault(direction, []).append(RecallRow(k, metric == given.headline, base, change, strip))
    return [RecallGroup(*text.DIRECTIONS.get(name, (name, "")), found) for name, found in rows.items()]


@dataclass(frozen=True)
class Found:
    """A picture that a query found."""

    name: str
    thumbnail: str
    right: bool


@dataclass(frozen=True)
class ExampleCard:
    """A query with its picture and what it found."""

    query: QueryExample
    wanted: Found
    before: Sequence[Found]
    after: Sequence[Found]


@dataclass(frozen=True)
class ExampleGroup:
    """The wins, or the losses."""

    title: str
    explained: str
    cards: Sequence[ExampleCard]


def example_groups(given: ReportInput) -> list[ExampleGroup]:
    """Wins and losses; none where the run has not come to them."""
    if given.examples is None:
        return []
    thumbnails = given.examples.thumbnails

    def found(name: str, right: str) -> Found:
        return Found(name, base64_only(thumbnails.get(name, "")), name == right)

    def cards(queries: Sequence[QueryExample]) -> list[ExampleCard]:
        return [
            ExampleCard(
                query,
                found(query.image, query.image),
                [found(name, query.image) for name in query.top_before[:3]],
                [found(name, query.image) for name in query.top_after[:3]],
            )
            for query in queries[:SHOWN_EXAMPLES]
        ]

    return [
        ExampleGroup("Wins", "captions whose picture rose the most", cards(given.examples.wins)),
        ExampleGroup("Losses", "captions whose picture fell the most", cards(given.examples.losses)),
    ]


def base64_only(encoded: str) -> str:
    """The text if it is base64, else nothing, so that nothing else gets into a data URL."""
    try:
        base64.b64decode(encoded, validate=True)
    except ValueError:
        return ""
    return encoded


@dataclass(frozen=True)
class Figure:
    """A chart with what it shows."""

    title: str
    caption: str
    svg: str


def curves(given: ReportInput) -> list[Figure]:
    """Loss, learning rate, and validation where it was evaluated."""
    metrics = given.metrics
    if not metrics:
        return []
    return [loss_figure(metrics), rate_figure(metrics), *validation_figures(given)]


def loss_figure(metrics: Sequence[StepMetrics]) -> Figure:
    """The loss, and how many steps had none."""
    window = max(2, round(len(metrics) / 20))
    odd = sum(not math.isfinite(line.loss) for line in metrics)
    gaps = f" {text.count(odd, 'step')} with a loss that is not finite left out." if odd else ""
    caption = f"Each step faint; the line is a running mean over about {window} steps.{gaps}"
    return Figure("Loss", caption, drawing(charts.loss_chart(metrics, window)))


def rate_figure(metrics: Sequence[StepMetrics]) -> Figure:
    """The learning rate, with how far training came."""
    last = metrics[-1]
    caption = f"{text.count(last.step, 'step')}, {last.epoch:.1f} epochs."
    return Figure("Learning rate", caption, drawing(charts.learning_rate_chart(metrics)))


def validation_figures(given: ReportInput) -> Iterator[Figure]:
    """The validation recall's curve, if validation was evaluated at all."""
    if any(line.validation for line in given.metrics):
        k = text.split_metric(given.headline or "")[1] or 5
        svg = charts.validation_chart(given.metrics, given.selection, k)
        caption = "The score, mean of image and text recall at 1 and 5, decides which weights are kept."
        yield Figure("Validation recall", caption, drawing(svg))


@dataclass(frozen=True)
class Alpha:
    """The choice of weights."""

    svg: str
    sentence: str


def alpha(given: ReportInput) -> Alpha | None:
    """The alpha curve with its reading; None before selection."""
    selection = given.selection
    if selection is None:
        return None
    gain = text.points(selection.chosen.score - selection.base.score)
    error = f"{100 * selection.standard_error:.1f}"
    if selection.no_gain:
        sentence = "No candidate beat the base by more than one standard error, so the base is the model."
    else:
        sentence = (
            f"Chosen: step {selection.chosen.step:,} at alpha {selection.chosen.alpha:g}, {gain} points over the base "
            f"with a standard error of {error}."
        )
    return Alpha(drawing(charts.alpha_chart(selection)), sentence)


def data_view(data: DataReport | None) -> dict[str, Any] | None:
    """What the data section shows beside the report itself."""
    if data is None:
        return None
    return {
        "report": data,
        "kinds": Counter(problem.kind for problem in data.problems).most_common(),
        "problems": data.problems[:SHOWN_ROWS],
        "leaks": data.leaks[:SHOWN_ROWS],
        "oddities": [(kind, number, text.ODDITIES.get(kind, "")) for kind, number in sorted(data.oddities.items())],
        "cache": text.byte_size(data.cache_bytes),
    }


def provenance(given: ReportInput) -> dict[str, Any]:
    """Where the number comes from."""
    run, outcome = given.run, given.outcome
    hardware = run.hardware
    return {
        "identity": list(identity(given)),
        "spec": text.as_yaml(run.spec),
        "resolved": text.as_yaml(run.resolved),
        "versions": sorted(run.versions.items()),
        "hardware": [
            ("Device", f"{hardware.device_name} ({hardware.device})"),
            ("Processes", f"{hardware.world_size}"),
            ("CPUs", f"{hardware.cpus}, {text.count(hardware.threads, 'thread')} used"),
            ("Memory", text.byte_size(hardware.memory_bytes)),
        ],
        "timings": drawing(charts.timings_chart(outcome.timings)) if outcome and outcome.timings else "",
        "total": text.duration(sum(outcome.timings.values())) if outcome else "",
    }


def identity(given: ReportInput) -> Iterator[tuple[str, str]]:
    """Names and digests, as (label, value)."""
    yield "Run", given.run.run
    yield "Spec digest", given.run.digest
    yield from evaluation_digests(given.before, given.after)
    if given.outcome is not None:
        yield from outcome_identity(given.outcome)


def evaluation_digests(before: Evaluation | None, after: Evaluation | None) -> Iterator[tuple[str, str]]:
    """What was measured, and on what."""
    if before is not None:
        yield "Base weights", before.weights_digest
        yield "Test queries", before.queries_digest
    if after is not None and before is not None and after.queries_digest != before.queries_digest:
        yield "Test queries, after", after.queries_digest


def outcome_identity(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """What came out."""
    yield "Model weights", outcome.weights_digest
    yield "Model", outcome.model_uri
    yield "Report", outcome.report_uri
