"""What trackers hold, read with their own readers."""

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

BLOCK_BYTES = 32_768


def scalars_in(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder of event files: tag to (step, value), in the order that it read them."""
    # 0: keep every point; TensorBoard's own default thins them out.
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags}


def wandb_history(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What W&B keeps offline in `folder`, of all runs there in the order of their starts: as `scalars_in`.

    The file is a log as LevelDB's, of protobuf messages: blocks of 32 KiB, in them parts of records with a header each.
    """
    from wandb.proto import wandb_internal_pb2

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for content in _leveldb_records(path.read_bytes()):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined] # chosen by protobuf's version
            record.ParseFromString(content)
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for name, value in row.items():
                if "/" in name:
                    found.setdefault(name, []).append((row["_step"], value))
    return found


def mlflow_history(database: Path, experiment: str) -> dict[str, list[tuple[int, float]]]:
    """What the only run of an experiment holds in a local store: as `scalars_in`."""
    found: dict[str, list[tuple[int, float]]] = {}
    with closing(sqlite3.connect(database)) as connection:
        query = (
            "SELECT run_uuid, key, step, value FROM metrics JOIN runs USING (run_uuid) JOIN experiments USING "
            "(experiment_id) WHERE experiments.name = ? ORDER BY key, step, timestamp"
        )
        rows = connection.execute(query, (experiment,)).fetchall()
    assert len({run for run, *_ in rows}) == 1, "one run"
    for _, name, step, value in rows:
        found.setdefault(name, []).append((step, value))
    return found


def _leveldb_records(data: bytes) -> Iterator[bytes]:
    offset, record = 7, b""  # after the file's own header
    while offset < len(data):
        left = BLOCK_BYTES - offset % BLOCK_BYTES
        if left < 7:  # too little for a header: filled up
            offset += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, offset)
        record += data[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""
