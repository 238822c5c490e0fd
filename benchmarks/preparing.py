"""How many threads read and decode pictures on a local disk: each number in turn, against twice the cores.

    OMP_NUM_THREADS=1 python benchmarks/preparing.py [--quick]

Milliseconds a picture to index a table of photographs of 640 x 480 as JPEG, for training with an input of 224: read,
decode, digest, shrink, cache. The files lie in the system's memory, as after a download: a disk that keeps its readers
waiting, as a network's may, would show other numbers.
"""

import tempfile
import time
from pathlib import Path

import torch

from data_path import write_tables
from finetune_sdk.api.data import DataSource
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.formats import open_rows
from finetune_trainer.data.index import build_index, default_workers
from finetune_trainer.data.room import Parts, Room, RoomyWriter
from finetune_trainer.data.types import Form
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.pipeline.hardware import keep_freed_memory
from finetune_trainer.progress import Silent
from support import TRIALS, arguments, describe_machine, finish, spread

INPUT = Preprocess((224, 224), (0.5,) * 3, (0.5,) * 3, "bicubic", "shortest")
GOAL = 1.0
"""Times as fast as with twice the cores."""


def index_ms(table: Path, workers: int) -> float:
    """A picture, with an empty cache."""
    spec = DataSource.model_validate({"uri": path_to_uri(table), "columns": {"image": "filepath", "caption": "title"}})
    rows = open_rows("data.train", spec, open_store)
    assert rows.total is not None
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(evaluation=False, whole=True)
        folders: dict[Form, Path] = {"raw": Path(folder) / "raw", "jpeg": Path(folder) / "jpeg"}
        with RoomyWriter(folders, INPUT, parts, Room(form="raw"), rows.total, Silent()) as writer:
            began = time.perf_counter()
            index = build_index(rows.read(), writer, Silent(), workers)
            took = time.perf_counter() - began
        assert len(index.images) == rows.total
    return took / rows.total * 1000


def main() -> None:
    quick = arguments(__doc__ or "").quick
    pictures, trials = (32, 1) if quick else (1500, TRIALS)
    keep_freed_memory(torch.device("cpu"))  # as every run on a CPU does
    ours, usual = default_workers(local=True), default_workers()
    numbers = sorted({1, ours - 1, ours, usual})
    took: dict[int, list[float]] = {number: [] for number in numbers}
    with tempfile.TemporaryDirectory() as folder:
        table = write_tables(Path(folder), pictures)["train"]
        for trial in range(trials):
            for number in numbers:
                took[number].append(index_ms(table, number))
            print(f"trial {trial + 1}:", {number: round(of[-1], 2) for number, of in took.items()}, flush=True)
    ratio = spread([theirs / our for our, theirs in zip(took[ours], took[usual], strict=True)])
    figures = {
        "machine": describe_machine("torch", "pillow"),
        "quick": quick,
        "threads": ours,
        "ms_by_threads": {str(number): spread(of) for number, of in took.items()},
        "of_twice_the_cores": ratio,
    }
    finish("preparing", figures, {"ratio": GOAL}, quick or ratio["median"] >= GOAL)


if __name__ == "__main__":
    main()
