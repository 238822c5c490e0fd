"""Axes with ticks that a person would choose, and the frame that a curve is drawn in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from finetune_trainer.report import svg

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Axis:
    """One direction of a chart: what it spans, and where it is labelled."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    unit: str = ""
    """Written once at the axis's end; empty where the labels say it."""

    def share(self, value: float) -> float:
        """Where `value` lies between low (0) and high (1)."""
        return (value - self.low) / (self.high - self.low)


def nice_step(span: float, count: int) -> float:
    """The 1, 2 or 5 times a power of ten that cuts `span` into about `count` parts."""
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def nice_ticks(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """Round numbers from at or below `low` to at or above `high`; `low` < `high`."""
    step = nice_step(high - low, count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def spread(values: Sequence[float], at_least: float) -> tuple[float, float]:
    """The least and greatest finite value, widened about the middle to span `at_least`."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    missing = max(0.0, at_least - (high - low)) / 2
    return low - missing, high + missing


def plain(value: float, step: float) -> str:
    """A tick's number with as many decimals as its neighbours need."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:,.{decimals}f}"
    text = text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
    return text.replace("-", MINUS)


def number_axis(values: Sequence[float], at_least: float = 1e-3, count: int = 4) -> Axis:
    """An axis of plain numbers."""
    ticks = nice_ticks(*spread(values, at_least), count)
    return Axis(ticks[0], ticks[-1], ticks, tuple(plain(tick, ticks[1] - ticks[0]) for tick in ticks))


def recall_axis(recalls: Sequence[float], at_least: float = 0.02, count: int = 4) -> Axis:
    """An axis of recalls as per cent, inside 0 to 100 %."""
    low, high = spread(recalls, at_least)
    ticks = tuple(tick for tick in nice_ticks(100 * low, 100 * high, count) if -1e-6 <= tick <= 100 + 1e-6)
    labels = tuple(f"{plain(tick, ticks[1] - ticks[0])} %" for tick in ticks)
    return Axis(ticks[0] / 100, ticks[-1] / 100, tuple(tick / 100 for tick in ticks), labels)


def rate_axis(rates: Sequence[float]) -> Axis:
    """An axis of learning rates from 0, with the power of ten said once as its unit."""
    top = spread([0.0, *rates], 1e-12)[1]
    power = math.floor(math.log10(top))
    ticks = nice_ticks(0.0, top / 10.0**power)
    labels = tuple(plain(tick, ticks[1] - ticks[0]) for tick in ticks)
    scaled = tuple(tick * 10.0**power for tick in ticks)
    return Axis(0.0, scaled[-1], scaled, labels, f"×10{str(power).translate(SUPERSCRIPT)}")


def step_axis(last: int, count: int = 4) -> Axis:
    """An axis of steps from 0 to exactly `last`, with whole ticks."""
    end = max(1, last)
    step = max(1.0, nice_step(end, count))
    ticks = tuple(index * step for index in range(math.floor(end / step) + 1))
    return Axis(0.0, float(end), ticks, tuple(f"{tick:,.0f}" for tick in ticks), "step")


def choice_axis(values: Sequence[float], unit: str) -> Axis:
    """An axis labelled at the given values, from the least to the greatest."""
    ticks = tuple(sorted(set(values)))
    low, high = spread(ticks, 1e-9)
    return Axis(low, high, ticks, tuple(f"{tick:g}" for tick in ticks), unit)


@dataclass(frozen=True)
class Frame:
    """A chart's plane in SVG units; y grows downwards there and upwards in the data."""

    x: Axis
    y: Axis
    width: float = 380
    height: float = 236
    left: float = 46
    right: float = 14
    top: float = 22
    bottom: float = 40

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Data to drawing."""
        across = self.width - self.left - self.right
        down = self.height - self.top - self.bottom
        return self.left + across * self.x.share(x), self.top + down * (1 - self.y.share(y))

    def draw(self) -> str:
        """Grid, ticks, labels and units."""
        floor, end = self.height - self.bottom, self.width - self.right
        parts = []
        for tick, text in zip(self.y.ticks, self.y.labels, strict=True):
            height = self.at(self.x.low, tick)[1]
            parts.append(svg.line(self.left, height, end, height, "grid"))
            parts.append(svg.label(text, self.left - 8, height + 4, "tick", "end"))
        for tick, text in zip(self.x.ticks, self.x.labels, strict=True):
            across = self.at(tick, self.y.low)[0]
            parts.append(svg.line(across, floor, across, floor + 4, "axis"))
            parts.append(svg.label(text, across, floor + 17, "tick", "middle"))
        parts.append(svg.line(self.left, floor, end, floor, "axis"))
        parts.append(svg.label(self.x.unit, end, self.height - 5, "unit", "end"))
        if self.y.unit:
            parts.append(svg.label(self.y.unit, self.left - 8, 11, "unit", "end"))
        return "".join(parts)
