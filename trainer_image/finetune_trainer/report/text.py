"""Words and numbers of reports and tables, the same in a browser and on a terminal."""

import io
import math
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

DIRECTIONS = {
    "image_retrieval": ("Image retrieval", "find the picture for a caption"),
    "text_retrieval": ("Text retrieval", "find a caption for a picture"),
}
"""CLIP Benchmark's two directions, as title and explanation."""
VERDICTS = {"Improved": "Improved", "NoGain": "No gain", "Worse": "Worse", "Inconclusive": "Inconclusive"}

ODDITIES = {
    "exif-rotated": "EXIF asks for a rotation, which is not applied, as in open_clip",
    "cmyk": "CMYK pictures, converted to RGB",
    "alpha": "pictures with transparency, which is dropped",
    "animated": "animated pictures, of which the first frame is used",
    "greyscale": "grey pictures, converted to RGB",
    "truncated-caption": "captions longer than the model reads; the rest is cut off",
    "duplicate-row": "rows that repeat picture and caption of another row",
    "duplicate-image": "pictures with the pixels of another, whose captions were joined",
    "empty-caption": "empty captions, left out",
}
"""Kinds of `DataReport.oddities` in words; a kind that is not here is shown as it is."""

UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What HTML forbids or UTF-8 cannot hold: file names may hold any of it."""


def percent(recall: float) -> str:
    """0.4213 to '42.1 %'."""
    return f"{100 * recall:.1f} %" if math.isfinite(recall) else "none"


def unbroken(sentence: str) -> str:
    """A sentence whose figures keep their percent sign on their line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def points(gain: float, minus: str = "\N{MINUS SIGN}") -> str:
    """A difference of recalls in percentage points, with its sign: 0.152 to '+15.2'."""
    text = f"{100 * gain:+.1f}"
    return "0.0" if text in {"+0.0", "-0.0"} else text.replace("-", minus)


def duration(seconds: float) -> str:
    """'0.4 s', '42 s', '3:07 min', '2:15 h', '4 d 3 h'."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{left:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d} h" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def byte_size(size: float) -> str:
    """'512 B', '1.5 MiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def count(amount: int, noun: str) -> str:
    """'1 image', '1,000 images', '2 queries'; `noun` is in the singular."""
    several = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{amount:,} {noun if amount == 1 else several}"


def split_metric(metric: str) -> tuple[str, int]:
    """'image_retrieval_recall@5' to ('image_retrieval', 5); a foreign name to itself and 0."""
    matched = re.fullmatch(r"(image_retrieval|text_retrieval)_recall@(\d+)", metric)
    return (matched[1], int(matched[2])) if matched else (metric, 0)


def metric_name(metric: str) -> str:
    """'image_retrieval_recall@5' to 'Image retrieval recall@5'."""
    direction, k = split_metric(metric)
    return f"{DIRECTIONS[direction][0]} recall@{k}" if k else metric


def in_order(metrics: Mapping[str, Any]) -> list[str]:
    """Metric names by direction, then k."""
    return sorted(metrics, key=split_metric)


def as_yaml(value: Mapping[str, Any]) -> str:
    """A document as block YAML 1.2, to be read and copied."""
    writer, stream = YAML(), io.StringIO()
    writer.default_flow_style = False
    writer.width = 4096  # a long URI stays on its line
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(plain_values(value), stream)
    return stream.getvalue().removesuffix("...\n")


def plain_values(value: Any) -> Any:
    """The same with what YAML has no word for (tuples, paths, clocks) as lists and strings."""
    if isinstance(value, Mapping):
        return {printable(str(key)): plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    if isinstance(value, str):
        return printable(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def printable(text: str) -> str:
    """The text with every unprintable character shown as U+FFFD."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
