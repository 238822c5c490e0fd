"""Pictures made in processes of their own: the bits of the caller's own thread, errors that arrive, none that stays."""

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Pictures
from torch import Tensor

from finetune_sdk.errors import StorageUnavailable, TrainerError
from finetune_trainer.data.batches import PREFETCH, TrainBatches
from finetune_trainer.data.pixels import PixelWriter
from finetune_trainer.data.processes import start_server
from finetune_trainer.data.stored import open_pixels
from finetune_trainer.data.types import Form, Image, Split
from finetune_trainer.model.clip import Preprocess
from tests.support.splits import add

INPUT = Preprocess((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "shortest")
COUNT, BATCH, WORKERS = 40, 16, 2


KILLED = """
import sys, multiprocessing
from pathlib import Path
from tests.unit.test_loader_processes import batches, reopened
stream = batches(reopened(Path(sys.argv[1]))).iterate(0, 1_000_000)
next(stream)
print(len(multiprocessing.active_children()), flush=True)
sys.stdin.read()
"""
"""A process that has loaded a batch and waits, as one that trains does."""


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    """As a run does it before it needs the processes."""
    start_server()


def a_split(folder: Path, form: Form = "raw") -> Split:
    draw, images = np.random.default_rng(0), []
    with PixelWriter(folder, INPUT, whole=True, form=form) as writer:
        for number in range(COUNT):
            coarse = Pictures.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            add(writer, coarse.resize((80, 60 + number)), evaluation=False)
            images.append(Image(f"row {number}", str(number), (f"caption {number}",), "", "", number))
        pixels = writer.close()
    order = range(COUNT - 1, -1, -1)  # a choice of the pictures in another order, as a run's splits are
    return Split("train", tuple(images[place] for place in order), pixels.subset(order))


def reopened(folder: Path) -> Split:
    """What `a_split` wrote, for another process."""
    images = tuple(Image(f"row {n}", str(n), (f"caption {n}",), "", "", n) for n in range(COUNT))
    return Split("train", images, open_pixels(folder, INPUT))


def tokenize(captions: list[str]) -> Tensor:
    return torch.tensor([[int(caption.split()[1])] for caption in captions])


def batches(split: Split, workers: int = WORKERS, batch_size: int = BATCH) -> TrainBatches:
    return TrainBatches(split, tokenize, INPUT, seed=3, batch_size=batch_size, workers=workers, processes=True)


def loaders() -> list[BaseProcess]:
    return multiprocessing.active_children()


@pytest.mark.parametrize("form", ["raw", "jpeg"])
def test_the_bits_are_those_of_the_callers_own_thread_across_epochs(tmp_path: Path, form: Form) -> None:
    split = a_split(tmp_path, form)
    expected = list(batches(split, 0).iterate(2, 9))
    drawn = torch.random.get_rng_state()
    got = list(batches(split).iterate(2, 9))
    assert [batch.step for batch in got] == list(range(2, 9))
    for mine, theirs in zip(got, expected, strict=True):
        assert torch.equal(mine.images, theirs.images)
        assert torch.equal(mine.tokens, theirs.tokens)
    assert torch.equal(torch.random.get_rng_state(), drawn), "loading draws nothing that training would draw"
    assert not loaders()


def test_a_batch_may_be_larger_than_the_room_between_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SimpleNamespace(f_bavail=2 * 733 * 2 * WORKERS * 32 * 32 * 3, f_frsize=1)  # pieces of 733
    monkeypatch.setattr(os, "statvfs", lambda _: shared)
    split = a_split(tmp_path)
    (expected,) = batches(split, 0, 2000).iterate(0, 1)
    (got,) = batches(split, WORKERS, 2000).iterate(0, 1)
    assert torch.equal(got.images, expected.images)


def test_without_room_between_processes_threads_do_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, "statvfs", lambda _: SimpleNamespace(f_bavail=2 * 2 * WORKERS * 32 * 32 * 3 - 1, f_frsize=1)
    )
    stream = batches(a_split(tmp_path)).iterate(0, 100)
    assert next(stream).step == 0
    assert not loaders()
    stream.close()


def test_closing_early_leaves_no_process(tmp_path: Path) -> None:
    stream = batches(a_split(tmp_path)).iterate(0, 1_000_000)
    next(stream)
    assert len(loaders()) == WORKERS
    stream.close()
    assert not loaders()


def test_a_picture_that_cannot_be_read_says_so_and_leaves_no_process(tmp_path: Path) -> None:
    split = a_split(tmp_path, "jpeg")
    (path,) = tmp_path.glob("*.bin")
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(StorageUnavailable, match=f"{path} is damaged") as caught:
        list(batches(split).iterate(0, 10))
    assert "Traceback" not in str(caught.value)
    assert not loaders()


class Unforeseen:
    """Pixels with a bug."""

    def __len__(self) -> int:
        return COUNT

    def whole(self, index: int) -> NDArray[np.uint8]:
        raise OSError(f"nobody has thought of picture {index}")

    evaluation = whole

    def subset(self, _: object) -> "Unforeseen":
        return self


def test_a_bug_in_a_process_is_told_as_one_with_its_place(tmp_path: Path) -> None:
    split = replace(a_split(tmp_path), pixels=Unforeseen())
    with pytest.raises(TrainerError, match=r"this is a bug: OSError: nobody has thought of picture \d+\n") as caught:
        list(batches(split).iterate(0, 10))
    assert "in whole" in str(caught.value)
    assert not loaders()


def test_a_process_that_is_killed_is_told_and_the_others_end(tmp_path: Path) -> None:
    stream = batches(a_split(tmp_path)).iterate(0, 1_000_000)
    next(stream)
    victim = loaders()[0].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(TrainerError, match="was killed, memory may have run out"):
        list(stream)
    assert not loaders()


def test_none_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    """Neither those that load nor what they were forked from."""
    a_split(tmp_path)
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{WORKERS}\n"
        process.kill()
        assert process.stdout.read() == "", "it ends once nobody holds it any more"


def test_ctrl_c_goes_to_them_too_and_they_go_on(tmp_path: Path) -> None:
    """A terminal sends it to every process of the run, which then finishes the step it is in."""
    stream = batches(a_split(tmp_path)).iterate(0, PREFETCH + 20)
    next(stream)
    for process in loaders():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
    assert len(list(stream)) == PREFETCH + 19
