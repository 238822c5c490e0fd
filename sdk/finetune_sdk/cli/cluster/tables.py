"""Figures, times and tables as a terminal shows them; pure."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from finetune_sdk.api.run import GROUP, KIND, FinetuneRun
from finetune_sdk.spec_paths import printable

MINUTE, HOUR, DAY = 60, 3_600, 86_400
GAP = "   "


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, as kubectl's; what a user wrote cannot command the terminal."""
    shown = [list(columns), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in shown) for index in range(len(columns))]
    lines = (GAP.join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in shown)
    return "\n".join(line.rstrip() for line in lines)


def percent(fraction: float | None) -> str:
    """0.2167 is 21.7 %."""
    return "" if fraction is None else f"{100 * fraction:.1f} %"


def points(gain: float | None) -> str:
    """A difference of recalls in percentage points: 0.25 is +25.0."""
    return "" if gain is None else f"{100 * gain:+.1f}"


def duration(seconds: float) -> str:
    """As kubectl shows ages: 40s, 5m30s, 90m, 5h30m, 3d4h."""
    whole = max(0, int(seconds))
    if whole < 2 * MINUTE:
        return f"{whole}s"
    if whole < 10 * MINUTE:
        return _two(whole, MINUTE, 1, "m", "s")
    if whole < 3 * HOUR:
        return f"{whole // MINUTE}m"
    if whole < 8 * HOUR:
        return _two(whole, HOUR, MINUTE, "h", "m")
    if whole < 2 * DAY:
        return f"{whole // HOUR}h"
    return _two(whole, DAY, HOUR, "d", "h") if whole < 8 * DAY else f"{whole // DAY}d"


def _two(seconds: int, large: int, small: int, large_unit: str, small_unit: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large}{large_unit}" + (f"{rest}{small_unit}" if rest else "")


def age(run: FinetuneRun, now: datetime) -> str:
    """Since the run was created."""
    made = run.metadata.creation_timestamp
    return duration((now - datetime.fromisoformat(made)).total_seconds()) if made else ""


def moment(time: datetime | None) -> str:
    """In UTC, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if time else ""


def resource_name(run: FinetuneRun) -> str:
    """As kubectl takes it."""
    return f"{KIND.lower()}.{GROUP}/{run.metadata.name}"


def as_json(runs: FinetuneRun | Sequence[FinetuneRun]) -> str:
    """One run, or a List of them, as the API server has it."""
    return json.dumps(_document(runs), indent=2, ensure_ascii=False)


def as_yaml(runs: FinetuneRun | Sequence[FinetuneRun]) -> str:
    """The same as YAML."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 120
    out = io.StringIO()
    yaml.dump(_document(runs), out)
    return out.getvalue().rstrip("\n")


def _document(runs: FinetuneRun | Sequence[FinetuneRun]) -> dict[str, Any]:
    if isinstance(runs, FinetuneRun):
        return runs.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {"apiVersion": "v1", "kind": "List", "items": [_document(run) for run in runs]}
