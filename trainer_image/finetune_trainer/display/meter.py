"""How far a stage is, how fast, and how long it will take: arithmetic on counts and a clock's readings."""

import math
from collections import deque
from collections.abc import Mapping

WINDOW = 30.0
"""Seconds that the rate looks back: long enough to be calm, short enough to forget a slow start."""
GRAIN = 1.0
"""Seconds between two remembered readings."""


class Meter:
    """One stage. Times are seconds on any steady clock."""

    def __init__(self, stage: str, total: int | None, unit: str, done: int, now: float) -> None:
        self.stage, self.total, self.unit, self.done = stage, total, unit, done
        self.started, self.first = now, done
        self.figures: dict[str, float] = {}
        self._seen: deque[tuple[float, int]] = deque([(now, done)])

    def advance(self, amount: int, figures: Mapping[str, float], now: float) -> None:
        """`amount` more units are done; the figures replace those of the same name."""
        self.done += amount
        self.figures.update(figures)
        if now - self._seen[-1][0] >= GRAIN:
            self._seen.append((now, self.done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()

    def rate(self, now: float) -> float | None:
        """Units a second of late; None where nothing can be said yet."""
        then, before = self._seen[0]
        return (self.done - before) / (now - then) if now > then and self.done > before else None

    def eta(self, now: float) -> float | None:
        """Seconds to the end at the present rate."""
        rate = self.rate(now)
        return None if rate is None or self.total is None else max(0, self.total - self.done) / rate

    def mean_rate(self, now: float) -> float | None:
        """Units a second since the stage began here, without what an earlier attempt had done."""
        return (
            (self.done - self.first) / (now - self.started) if now > self.started and self.done > self.first else None
        )


def clock_time(seconds: float) -> str:
    """'0:42', '1:02:03'."""
    minutes, left = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def per_second(rate: float | None, unit: str) -> str:
    """'812 samples/s', '4.2 steps/s', '12 s/step' where a unit takes longer than a second; '' where unknown."""
    if rate is None or rate <= 0:
        return ""
    if rate < 0.5:
        return f"{1 / rate:.0f} s/{singular(unit)}"
    return f"{rate:,.0f} {unit}/s" if rate >= 9.95 else f"{rate:.1f} {unit}/s"


def singular(unit: str) -> str:
    """'steps' to 'step', 'queries' to 'query'."""
    return unit.removesuffix("ies") + "y" if unit.endswith("ies") else unit.removesuffix("s")


def figure_words(figures: Mapping[str, float]) -> list[str]:
    """'loss 2.31' for each; a rate by its name, as samples_per_second=812, is '812 samples/s'."""
    return [
        per_second(value, name.removesuffix("_per_second"))
        if name.endswith("_per_second")
        else f"{name.replace('_', ' ')} {value:.3g}"
        for name, value in figures.items()
    ]
