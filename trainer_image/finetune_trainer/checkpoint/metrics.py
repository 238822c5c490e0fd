"""The lines of metrics.jsonl, kept in a segment for each checkpoint so that a resumed run continues them exactly."""

import re
from collections.abc import Sequence

from finetune_sdk.errors import ObjectNotFound
from finetune_sdk.storage import Store
from finetune_trainer.records import StepMetrics
from finetune_trainer.tracking.points import point_of_line
from finetune_trainer.tracking.tensorboard import SEGMENT, drop_events_after, write_events

ROOT = "metrics/"
JOINED = "metrics.jsonl"
_SEGMENT = re.compile(r"metrics/step-(\d+)\.jsonl")


def segment_key(step: int) -> str:
    """The segment with the lines up to `step` that no earlier segment holds."""
    return f"{ROOT}step-{step}.jsonl"


def encode_lines(lines: Sequence[StepMetrics]) -> bytes:
    """JSON Lines; the same lines give the same bytes."""
    return b"".join(line.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n" for line in lines)


def drop_segments_after(store: Store, step: int) -> None:
    """Remove the segments of later steps, and their events: their lines are made anew."""
    for number, key in _segments(store):
        if number > step:
            store.delete(key)
    drop_events_after(store, step)


def write_segment(store: Store, step: int, lines: Sequence[StepMetrics]) -> None:
    """Write the segment that ends with `step`, and the same for TensorBoard."""
    write_events(store, step, SEGMENT, [point_of_line(line) for line in lines])
    store.write(segment_key(step), encode_lines(lines))


def append_lines(store: Store, step: int, lines: Sequence[StepMetrics]) -> None:
    """Add lines to a segment that may be there already; lines that it holds are not doubled."""
    write_segment(store, step, _by_step([*read_segment(store, step), *lines]))


def read_segment(store: Store, step: int) -> list[StepMetrics]:
    """The lines of one segment; none where it is not there."""
    return _read(store, segment_key(step))


def read_metrics(store: Store) -> list[StepMetrics]:
    """All lines that a run has left so far, by step; also of one that was killed."""
    return _by_step([line for _, key in _segments(store) for line in _read(store, key)])


def join_metrics(store: Store) -> list[StepMetrics]:
    """Write metrics.jsonl from the segments; return its lines."""
    lines = read_metrics(store)
    store.write(JOINED, encode_lines(lines))
    return lines


def _segments(store: Store) -> list[tuple[int, str]]:
    found = [(_SEGMENT.fullmatch(entry.key), entry.key) for entry in store.list(ROOT)]
    return sorted((int(match[1]), key) for match, key in found if match)


def _read(store: Store, key: str) -> list[StepMetrics]:
    try:
        data = store.read(key)
    except ObjectNotFound:
        return []
    return [StepMetrics.model_validate_json(line) for line in data.splitlines()]


def _by_step(lines: list[StepMetrics]) -> list[StepMetrics]:
    return sorted({line.step: line for line in lines}.values(), key=lambda line: line.step)
