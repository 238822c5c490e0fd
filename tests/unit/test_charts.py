"""Charts are numbers in, SVG out: ticks, smoothing and what the lines keep."""

import math
import re
from xml.etree import ElementTree as ET

import pytest

from finetune_trainer.records import Interval, MetricChange, Selection, StepMetrics
from finetune_trainer.report import charts
from finetune_trainer.report.axes import nice_ticks, rate_axis, recall_axis, step_axis
from tests.support import report_sample

TICKS = {
    "a loss from 0 to 4": ((0.02, 3.9), (0, 1, 2, 3, 4)),
    "a narrow band": ((0.41, 0.44), (0.41, 0.42, 0.43, 0.44)),
    "below zero": ((-3.0, 2.0), (-4, -2, 0, 2)),
    "thousands": ((0, 4_000), (0, 1_000, 2_000, 3_000, 4_000)),
}


@pytest.mark.parametrize(("span", "ticks"), TICKS.values(), ids=TICKS)
def test_ticks_are_round_and_cover_the_span(span: tuple[float, float], ticks: tuple[float, ...]) -> None:
    assert nice_ticks(*span) == pytest.approx(ticks)


def test_recall_axis_stays_between_nothing_and_all() -> None:
    axis = recall_axis([0.001, 0.999])
    assert (axis.low, axis.high) == (0, 1)
    assert axis.labels[0] == "0 %"
    assert axis.labels[-1] == "100 %"


def test_learning_rates_say_their_power_of_ten_once() -> None:
    axis = rate_axis([2e-6, 1e-5])
    assert axis.unit == "×10⁻⁵"
    assert axis.labels == ("0.0", "0.5", "1.0")


def test_step_axis_ends_at_the_last_step() -> None:
    axis = step_axis(317)
    assert axis.high == 317
    assert axis.labels == ("0", "100", "200", "300")


def test_smoothing_is_unbiased_at_the_start_and_skips_what_is_not_finite() -> None:
    assert charts.smooth([3.0, 3.0, math.nan, 3.0], 10) == pytest.approx([3.0] * 4)
    assert math.isnan(charts.smooth([math.inf], 10)[0])


def test_thinning_keeps_every_spike() -> None:
    line = [(float(step), 100.0 if step == 4_321 else 1.0) for step in range(100_000)]
    thinned = charts.thin(line)
    assert len(thinned) <= charts.MOST_POINTS + 2
    assert (4_321.0, 100.0) in thinned
    assert thinned == sorted(thinned)


def test_labels_are_pushed_apart_in_the_order_of_their_lines() -> None:
    assert charts.apart([50.0, 48.0, 100.0]) == [62.0, 48.0, 100.0]


def every_chart() -> dict[str, str]:
    metrics, selection = report_sample.metrics(), report_sample.selection()
    change = report_sample.changes()[report_sample.HEADLINE]
    return {
        "headline": charts.headline_chart(change, "Image <b>recall"),
        "strip": charts.gain_strip(change, (-0.1, 0.3)),
        "loss": charts.loss_chart(metrics, 15),
        "learning rate": charts.learning_rate_chart(metrics),
        "validation": charts.validation_chart(metrics, selection, 5),
        "alpha": charts.alpha_chart(selection),
        "time": charts.timings_chart({"<train>": 12.0, "prepare": 0.0}),
    }


@pytest.mark.parametrize(("name", "svg"), every_chart().items(), ids=every_chart())
def test_charts_are_well_formed_drawings_inside_their_box(name: str, svg: str) -> None:
    root = ET.fromstring(svg)  # noqa: S314  our own text
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for point in re.findall(
        r"(-?[\d.]+),(-?[\d.]+)", " ".join(line.attrib["points"] for line in root.iter("polyline"))
    ):
        assert -0.01 <= float(point[0]) <= width
        assert -0.01 <= float(point[1]) <= height
    assert "aria-hidden" in root.attrib or root.attrib["aria-label"]


def test_dots_lie_where_the_axis_says() -> None:
    change = MetricChange(before=0.5, after=0.5, gain=0.0, interval95=Interval(low=-0.1, high=0.1, draws=9, images=9))
    root = ET.fromstring(charts.gain_strip(change, (-0.2, 0.2)))  # noqa: S314
    (circle,) = root.iter("circle")
    assert float(circle.attrib["cx"]) == 90


ODD_RUNS = {
    "one step": [0.5],
    "no finite loss": [math.nan, math.inf],
    "a loss that never moves": [1.0, 1.0, 1.0],
    "an enormous loss": [1e30, 1.0],
}


@pytest.mark.parametrize("losses", ODD_RUNS.values(), ids=ODD_RUNS)
def test_odd_runs_are_drawn_all_the_same(losses: list[float]) -> None:
    lines = [
        StepMetrics(step=step, epoch=0, loss=loss, learning_rate=0.0, logit_scale=1, gradient_norm=0)
        for step, loss in enumerate(losses, 1)
    ]
    for svg in (charts.loss_chart(lines, 3), charts.learning_rate_chart(lines)):
        assert "nan" not in svg
        ET.fromstring(svg)  # noqa: S314


def test_without_gain_only_the_base_is_marked() -> None:
    selection = report_sample.selection()
    kept = Selection(
        base=selection.base, candidates=selection.candidates, chosen=selection.base, standard_error=0.01, no_gain=True
    )
    assert 'class="chosen"' not in charts.alpha_chart(kept)
    assert 'class="chosen"' in charts.alpha_chart(selection)
