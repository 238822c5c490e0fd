"""The report's drawings: figures in, SVG out. Grey is the base model, the accent is what was trained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from finetune_trainer.records import Candidate, MetricChange, Selection, StepMetrics
from finetune_trainer.report import svg
from finetune_trainer.report.axes import Axis, Frame, choice_axis, number_axis, rate_axis, recall_axis, step_axis
from finetune_trainer.report.text import duration, percent, points

Point = tuple[float, float]
MOST_POINTS = 400
"""Points in one drawn line: more than the pixels it is drawn on only make the file larger."""
LABEL_GAP = 14.0
"""The least distance between the baselines of two labels, in SVG units."""


@dataclass(frozen=True)
class Series:
    """A line of a chart, labelled at its end unless `label` is empty."""

    points: Sequence[Point]
    style: Literal["main", "second", "dashed", "faint"]
    label: str = ""


@dataclass(frozen=True)
class Mark:
    """A point that the reader should find."""

    x: float
    y: float
    label: str
    style: Literal["chosen", "base"]
    spread: float = 0.0
    """Half the length of a vertical whisker; 0 draws none."""


def smooth(values: Sequence[float], window: float) -> list[float]:
    """Exponential mean over about `window` values, unbiased at the start as in Adam; skips what is not finite."""
    keep = 1 - 2 / (max(1.0, window) + 1)
    total = weight = 0.0
    smoothed = []
    for value in values:
        if math.isfinite(value):
            total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        smoothed.append(total / weight if weight else math.nan)
    return smoothed


def thin(line: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most about `most` of the finite points; of each stretch its lowest and highest, so that no spike is lost."""
    finite = [point for point in line if math.isfinite(point[1])]
    if len(finite) <= most:
        return finite
    size = math.ceil(2 * len(finite) / most)
    kept: list[Point] = []
    for start in range(0, len(finite), size):
        stretch = finite[start : start + size]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(ends)
    return kept


def headline_chart(change: MetricChange, name: str) -> str:
    """Before and after on one recall axis; the after's whisker is the gain's interval, the dashed line is no change."""
    low, high = change.before + change.interval95.low, change.before + change.interval95.high
    values = [change.before, change.after, low, high]
    axis = recall_axis([max(0.0, min(values)), min(1.0, max(values))], at_least=0.08, count=5)
    frame = Frame(axis, Axis(0, 1, (), ()), width=440, height=150, left=18, right=26, top=8, bottom=28)
    before, after = frame.at(change.before, 0)[0], frame.at(change.after, 0)[0]
    ticks = [
        svg.line(frame.at(tick, 0)[0], 8, frame.at(tick, 0)[0], 122, "grid")
        + svg.label(text, frame.at(tick, 0)[0], 142, "tick", "middle")
        for tick, text in zip(axis.ticks, axis.labels, strict=True)
    ]
    return svg.picture(
        frame.width,
        frame.height,
        f"{name}: {percent(change.before)} before, {percent(change.after)} after; 95 % interval of the gain "
        f"{points(change.interval95.low)} to {points(change.interval95.high)} points",
        *ticks,
        svg.line(before, 38, before, 122, "nochange"),
        svg.whisker(frame.at(low, 0)[0], frame.at(high, 0)[0], 92, "whisker", 6),
        svg.dot(before, 38, 6.5, "base"),
        svg.dot(after, 92, 7.5, "chosen"),
        svg.label(f"before {percent(change.before)}", inside(before, frame), 22, "name", "middle"),
        svg.label(f"after {percent(change.after)}", inside(after, frame), 76, "name accent", "middle"),
    )


def inside(x: float, frame: Frame) -> float:
    """Where the middle of a label of about 100 units goes so that it stays inside the drawing."""
    return min(max(x, 52), frame.width - 52)


def gain_domain(changes: Sequence[MetricChange]) -> tuple[float, float]:
    """What the strips of one table share: every interval, and zero."""
    ends = [end for change in changes for end in (change.interval95.low, change.interval95.high, change.gain)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = max(0.02, 0.06 * (high - low))
    return low - room, high + room


def gain_strip(change: MetricChange, domain: tuple[float, float]) -> str:
    """One row of a forest plot: zero, gain and interval; its figures stand beside it in the table."""
    width, middle = 180.0, 11.0
    low, high, gain, zero = (
        width * (value - domain[0]) / (domain[1] - domain[0])
        for value in (change.interval95.low, change.interval95.high, change.gain, 0.0)
    )
    drawn = (svg.line(zero, 0, zero, 22, "nochange"), svg.whisker(low, high, middle, "whisker"))
    return svg.picture(width, 22, "", *drawn, svg.dot(gain, middle, 4.5, "chosen"), class_="strip")


def line_chart(
    description: str, x: Axis, y: Axis, series: Sequence[Series], marks: Sequence[Mark] = (), right: float = 14
) -> str:
    """Lines over a grid, each named at its end; marks lie on top."""
    frame = Frame(x, y, right=right)
    drawn = [
        svg.polyline([frame.at(*point) for point in one.points], f"line {one.style}") for one in series if one.points
    ]
    named = [one for one in series if one.label and one.points]
    heights = apart([frame.at(*one.points[-1])[1] for one in named])
    for one, height in zip(named, heights, strict=True):
        across = frame.at(*one.points[-1])[0]
        drawn.append(svg.label(one.label, across + 8, height + 4, f"name {one.style}"))
    return svg.picture(
        frame.width, frame.height, description, frame.draw(), *drawn, *(draw_mark(mark, frame) for mark in marks)
    )


def apart(heights: Sequence[float]) -> list[float]:
    """The same heights, pushed down where two labels would overlap."""
    placed = dict.fromkeys(range(len(heights)), 0.0)
    floor = -math.inf
    for index in sorted(placed, key=lambda index: heights[index]):
        placed[index] = floor = max(heights[index], floor + LABEL_GAP)
    return list(placed.values())


def draw_mark(mark: Mark, frame: Frame) -> str:
    """The point, its whisker, and its label on the side where there is room."""
    x, y = frame.at(mark.x, mark.y)
    parts = []
    if mark.spread:
        low, high = (frame.at(mark.x, mark.y + sign * mark.spread)[1] for sign in (-1, 1))
        parts += [svg.line(x, low, x, high, "whisker")]
        parts += [svg.line(x - 4, end, x + 4, end, "whisker") for end in (low, high)]
        y_label = high - 8
    else:
        y_label = y - 11
    if y_label < 10:
        y_label = (frame.at(mark.x, mark.y - mark.spread)[1] if mark.spread else y) + 20
    anchor = {0: "start", 2: "end"}.get(min(2, int(3 * frame.x.share(mark.x))), "middle")
    shift = {"start": -5.0, "end": 5.0}.get(anchor, 0.0)
    parts.append(svg.dot(x, y, 5.5, mark.style))
    parts.append(svg.label(mark.label, x + shift, y_label, f"name {mark.style}-name", anchor))
    return "".join(parts)


def loss_chart(metrics: Sequence[StepMetrics], window: float) -> str:
    """The loss of each step, faint, under its running mean."""
    steps = [float(line.step) for line in metrics]
    losses = [line.loss for line in metrics]
    raw, mean = thin(list(zip(steps, losses, strict=True))), thin(list(zip(steps, smooth(losses, window), strict=True)))
    last = f", {mean[-1][1]:.3g} at step {mean[-1][0]:,.0f}" if mean else ""
    return line_chart(
        f"Training loss by step, smoothed{last}",
        step_axis(metrics[-1].step),
        number_axis([value for _, value in raw], at_least=0.1),
        [Series(raw, "faint"), Series(mean, "main")],
    )


def learning_rate_chart(metrics: Sequence[StepMetrics]) -> str:
    """The learning rate of each step."""
    line = thin([(float(one.step), one.learning_rate) for one in metrics])
    top = max((value for _, value in line), default=0.0)
    description = f"Learning rate by step, {top:.3g} at most"
    axis = rate_axis([value for _, value in line])
    return line_chart(description, step_axis(metrics[-1].step), axis, [Series(line, "main")])


def validation_chart(metrics: Sequence[StepMetrics], selection: Selection | None, k: int) -> str:
    """Validation recall at `k` in both directions and the score that selection goes by; base and choice are marked."""
    lines = [(float(one.step), one.validation) for one in metrics if one.validation is not None]
    if selection is not None and lines and lines[0][0] > 0:
        lines.insert(0, (0.0, {"score": selection.base.score, **selection.base.recalls}))
    image = Series(of_metric(lines, f"image_retrieval_recall@{k}"), "second", f"image@{k}")
    text = Series(of_metric(lines, f"text_retrieval_recall@{k}"), "dashed", f"text@{k}")
    score = Series(of_metric(lines, "score"), "main", "score")
    values = [value for one in (image, text, score) for _, value in one.points]
    last = f", score {percent(score.points[-1][1])} at the end" if score.points else ""
    return line_chart(
        f"Recall on validation by step{last}",
        step_axis(max(metrics[-1].step, 1)),
        recall_axis(values),
        [image, text, score],
        [Mark(*point, "chosen", "chosen") for point in score.points if selection and point[0] == selection.chosen.step],
        right=66,
    )


def of_metric(lines: Sequence[tuple[float, Mapping[str, float]]], name: str) -> list[Point]:
    """(step, value) wherever `name` was measured and is finite."""
    return [(step, recalls[name]) for step, recalls in lines if math.isfinite(recalls.get(name, math.nan))]


def alpha_chart(selection: Selection) -> str:
    """Validation score by WiSE-FT alpha: a line for each checkpoint, the base dashed, the choice with its error."""
    base, chosen = selection.base, selection.chosen
    by_step: dict[int, list[Candidate]] = {}
    for candidate in selection.candidates:
        if candidate.alpha > 0:
            by_step.setdefault(candidate.step, []).append(candidate)
    series = [
        Series(alpha_line(base, candidates), "main" if step == chosen.step else "second", f"step {step:,}")
        for step, candidates in sorted(by_step.items(), key=lambda item: item[0] == chosen.step)
    ]
    everyone = [base, chosen, *selection.candidates]
    error = selection.standard_error
    reach = [chosen.score - error, chosen.score + error] if not selection.no_gain else []
    alphas = [0.0, 1.0, *(one.alpha for one in everyone)]
    series.insert(0, Series([(0.0, base.score), (1.0, base.score)], "dashed", "base"))
    marks = [Mark(0.0, base.score, "", "base")]
    if not selection.no_gain:
        marks.append(Mark(chosen.alpha, chosen.score, f"chosen {percent(chosen.score)}", "chosen", error))
    return line_chart(
        f"Validation score by alpha: base {percent(base.score)}, "
        f"chosen alpha {chosen.alpha:g} with {percent(chosen.score)}",
        choice_axis(alphas, "alpha") if len(set(alphas)) <= 7 else choice_axis([0, 0.25, 0.5, 0.75, 1], "alpha"),
        recall_axis([*(one.score for one in everyone), *reach]),
        series,
        marks,
        right=66,
    )


def alpha_line(base: Candidate, candidates: Sequence[Candidate]) -> list[Point]:
    """From the base, which every checkpoint shares at alpha 0, to the checkpoint's own weights."""
    return sorted([(0.0, base.score), *((one.alpha, one.score) for one in candidates)])


def timings_chart(timings: Mapping[str, float]) -> str:
    """A bar for each stage, in the order they ran."""
    width, row, left, right = 380.0, 24.0, 84.0, 64.0
    longest = max([*timings.values(), 1e-9])
    parts = []
    for index, (stage, seconds) in enumerate(timings.items()):
        length = max(1.5, (width - left - right) * seconds / longest)
        parts.append(svg.label(stage, left - 10, index * row + 16, "tick", "end"))
        parts.append(svg.element("rect", x=left, y=index * row + 5, width=length, height=14, rx=2, class_="bar"))
        parts.append(svg.label(duration(seconds), left + length + 8, index * row + 16, "tick"))
    told = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in timings.items())
    return svg.picture(width, max(1, len(timings)) * row, f"Time by stage: {told}", *parts)
