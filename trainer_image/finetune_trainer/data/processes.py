"""Training pictures made in processes of their own, by PyTorch's DataLoader: the step's process keeps Python's lock.

Beside a GPU the driving thread starts thousands of kernels a step; threads that make pictures take its lock from it.
Processes are forked from a server that has imported what they need, and is started before it is wanted.
"""

import math
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from finetune_sdk.errors import FinetuneError, TrainerError
from finetune_trainer.data.crops import Crops

METHOD = "forkserver"
SHARED = "/dev/shm"  # noqa: S108 - where torch passes tensors between processes
MOST_SHARED = 256 << 20
"""Bytes of pictures that lie between the processes at most; more would hide nothing."""
BEGUN = 2
"""Pieces that each process has begun or waits with."""


def start_server() -> None:
    """Start what the processes are forked from, for its imports take seconds; it ends with this process.

    Ctrl-C goes to all processes of a terminal, but the step that is then finished and saved needs its pictures: the
    server and all that it forks are born with the signal blocked.
    """
    multiprocessing.get_context(METHOD).set_forkserver_preload([__name__])
    resource_tracker.ensure_running()  # the server needs it; starting it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def piece_size(crops: Crops, workers: int) -> int:
    """Pictures that may pass between processes at once, by the shared memory that is free; 0 where it takes none.

    Half of what is free is left to others: a container without --shm-size has 64 MB.
    """
    try:
        shared = os.statvfs(SHARED)
    except OSError:
        return 0
    room = min(MOST_SHARED, shared.f_bavail * shared.f_frsize // 2)
    return room // (BEGUN * workers * 3 * math.prod(crops.preprocess.size))


class Piece(NamedTuple):
    """Slots `start` to `stop` of a step's batch."""

    step: int
    start: int
    stop: int


@dataclass(frozen=True)
class Pieces:
    """Steps cut into pieces of at most `size` pictures, in their order."""

    steps: range
    batch_size: int
    size: int

    def __iter__(self) -> Iterator[Piece]:
        for step in self.steps:
            for start in range(0, self.batch_size, self.size):
                yield Piece(step, start, min(start + self.size, self.batch_size))


class Made(Dataset[Tensor | FinetuneError]):
    """What a process makes of a piece: its pictures, (n, 3, H, W) uint8, or why one of them cannot be read."""

    def __init__(self, crops: Crops) -> None:
        self._crops = crops

    def __getitem__(self, piece: Piece) -> Tensor | FinetuneError:
        images = torch.empty((piece.stop - piece.start, 3, *self._crops.preprocess.size), dtype=torch.uint8)
        try:
            self._crops.fill(piece.step, range(piece.start, piece.stop), images.permute(0, 2, 3, 1).numpy())
        except FinetuneError as error:
            return error  # raised here it would arrive with the other process's traceback as its message
        except Exception as error:  # noqa: BLE001 - and this could not be told from the loader's own errors
            trace = "".join(traceback.format_exception(error))
            return TrainerError(f"this is a bug: {type(error).__name__}: {error}\n{trace}")
        return images


def load(crops: Crops, steps: range, workers: int, size: int) -> Generator[tuple[Piece, Tensor]]:
    """The pieces of all `steps` in their order, (n, 3, H, W) uint8 each, with n of at most `size`.

    Close it to end the processes. Raises what reading a picture raises, TrainerError where a process was killed or
    met what nobody has foreseen.
    """
    pieces = Pieces(steps, crops.batch_size, size)
    loader: DataLoader[Tensor | FinetuneError] = DataLoader(
        Made(crops),
        batch_size=None,
        sampler=pieces,
        num_workers=workers,
        prefetch_factor=BEGUN,
        multiprocessing_context=METHOD,
        worker_init_fn=_watch_parent,
        generator=torch.Generator(),  # else it draws from the one that the training draws from
    )
    start_server()
    with _without_main():
        arriving, ended = iter(loader), ""
    try:
        for piece in pieces:
            made = next(arriving)
            if isinstance(made, FinetuneError):
                raise made
            yield piece, made
    except (RuntimeError, OSError, EOFError) as error:  # by how much of a picture the process had passed on
        ended = str(error) or type(error).__name__
    finally:
        del arriving  # ends the processes
    if ended:  # not in `except`: the error's frames hold what keeps the other processes
        raise TrainerError(f"a process that loads pictures was killed, memory may have run out: {ended}")


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes that start meanwhile do not import the program's main module again, as they else would.

    It may import for seconds, and a script that is not guarded by `if __name__ == "__main__"` would train in each.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _watch_parent(_: int) -> None:
    """Where the step's process is killed these would wait for ever: each keeps their server alive, and looks for it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this is a child
    parent.join()
    os._exit(1)
