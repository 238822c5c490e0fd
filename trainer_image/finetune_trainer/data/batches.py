"""Batches for training and evaluation. B batch, H height, W width, T tokens.

Images are uint8 until they are normalised, which belongs on the model's device: a quarter of the bytes to move.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from finetune_trainer.data.crops import Crops
from finetune_trainer.data.order import caption_of, stream_batch
from finetune_trainer.data.processes import Piece, load, piece_size
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import Preprocess, Tokenizer
from finetune_trainer.progress import UNSEEN, Progress

PREFETCH = 3
"""Batches begun ahead of the one that is used: they hide a slow picture or a slow read."""
TOKENIZE_AT_ONCE = 4096
"""Captions handed to the tokenizer in one call: bounds its memory, and takes a second or so."""


@dataclass(frozen=True)
class Batch:
    """The pairs of one optimizer step, on the CPU."""

    step: int
    """From 0."""
    images: Tensor
    """(B, H, W, 3) uint8; `normalise` makes the model's input."""
    tokens: Tensor
    """(B, T) int64."""
    image_ids: Tensor
    """(B,) int64, the index in the split; equal for the same image."""
    caption_ids: Tensor
    """(B,) int64; equal for equal captions, whichever images they belong to."""
    epoch: float
    """Epochs that are done after this step."""


def normalise(images_uint8: Tensor, preprocess: Preprocess) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32: on a CPU the bits of torchvision's ToTensor and Normalize."""
    images = images_uint8.permute(0, 3, 1, 2).contiguous().to(torch.float32)

    def on_device(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=images.device).view(-1, 1, 1)

    # Divisors are tensors of the device, so that CUDA divides too: by a scalar it may multiply with a rounded inverse.
    return images.div_(on_device(255.0)).sub_(on_device(*preprocess.mean)).div_(on_device(*preprocess.std))


def evaluation_batches(split: Split, batch_size: int) -> Iterator[Tensor]:
    """The split's evaluation pictures in their order, as (n, H, W, 3) uint8 with n <= `batch_size`."""
    for start in range(0, len(split.images), batch_size):
        indices = range(start, min(start + batch_size, len(split.images)))
        yield torch.from_numpy(np.stack([split.pixels.evaluation(index) for index in indices]))


class TrainBatches:
    """The endless stream of training batches; any step can be asked for, and its bits depend on the seed alone."""

    def __init__(
        self,
        split: Split,
        tokenize: Tokenizer,
        preprocess: Preprocess,
        *,
        seed: int,
        batch_size: int,
        workers: int,
        processes: bool = False,
        progress: Progress = UNSEEN,
    ) -> None:
        """Tokenizes every caption once, which `progress` is told of: of a million it takes minutes.

        `workers` threads make batches ahead, or as many `processes` where shared memory has room for what they make;
        0: none, the caller's thread does.
        """
        self._split = split
        self._crops = Crops(split.pixels, preprocess, seed, batch_size)
        self._workers = workers
        self._processes = processes
        self._number = {caption: place for place, caption in enumerate(dict.fromkeys(split.captions))}
        self._tokens = _tokenize(tokenize, list(self._number), progress)

    def iterate(self, first_step: int, last_step: int) -> Generator[Batch]:
        """Batches of steps `first_step` to `last_step`, the latter excluded. An error in a worker is raised here.

        Close the iterator to stop early: once `close` returns, no thread and no process is left.
        """
        steps = range(first_step, last_step)
        if self._workers == 0:
            return self._inline(steps)
        size = piece_size(self._crops, self._workers) if self._processes else 0
        return self._from_processes(steps, size) if size else self._threaded(steps)

    def _inline(self, steps: range) -> Generator[Batch]:
        for step in steps:
            batch = self._begin(step)
            self._fill(batch, range(len(batch.images)))
            yield batch

    def _threaded(self, steps: range) -> Generator[Batch]:
        """Each batch is dealt out to all threads, so that the first one comes as soon as it can."""
        slots = range(self._crops.batch_size)
        hands = [slots[first :: self._workers] for first in range(self._workers)]
        return self._ahead(steps, self._workers, lambda batch: [partial(self._fill, batch, hand) for hand in hands])

    def _from_processes(self, steps: range, size: int) -> Generator[Batch]:
        """A thread puts batches together from the pieces that processes make, so that these never wait for a step."""
        with closing(load(self._crops, steps, self._workers, size)) as pieces:
            yield from self._ahead(steps, 1, lambda batch: [partial(_collect, batch, pieces)])

    def _ahead(self, steps: range, threads: int, work: Callable[[Batch], list[Callable[[], None]]]) -> Generator[Batch]:
        """Batches in their order, each once its `work` is done; the next PREFETCH are begun."""
        executor = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        begun: deque[tuple[Batch, list[Future[None]]]] = deque()
        try:
            for step in steps:
                batch = self._begin(step)
                begun.append((batch, [executor.submit(part) for part in work(batch)]))
                if len(begun) > PREFETCH:
                    yield _finished(*begun.popleft())
            while begun:
                yield _finished(*begun.popleft())
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def _begin(self, step: int) -> Batch:
        """A batch whose images are still to be filled in."""
        n, size = len(self._split.images), self._crops.batch_size
        images, epochs = stream_batch(self._crops.seed, step, size, n)
        captions = torch.tensor([self._caption(*place) for place in zip(images.tolist(), epochs.tolist(), strict=True)])
        return Batch(
            step=step,
            # Colour by colour in memory, as the model takes them.
            images=torch.empty((size, 3, *self._crops.preprocess.size), dtype=torch.uint8).permute(0, 2, 3, 1),
            tokens=self._tokens[captions].long(),
            image_ids=torch.from_numpy(images),
            caption_ids=captions,
            epoch=(step + 1) * size / n,
        )

    def _caption(self, image: int, epoch: int) -> int:
        captions = self._split.images[image].captions
        return self._number[captions[caption_of(self._crops.seed, image, epoch, len(captions))]]

    def _fill(self, batch: Batch, slots: range) -> None:
        self._crops.fill(batch.step, slots, batch.images.numpy()[slots.start : slots.stop : slots.step])


def _finished(batch: Batch, hands: list[Future[None]]) -> Batch:
    for hand in hands:
        hand.result()
    return batch


def _collect(batch: Batch, pieces: Iterator[tuple[Piece, Tensor]]) -> None:
    """Take the batch's pieces, which come in order, into its images."""
    for piece, images in pieces:
        batch.images[piece.start : piece.stop] = images.permute(0, 2, 3, 1)
        if piece.stop == len(batch.images):
            return


def _tokenize(tokenize: Tokenizer, captions: list[str], progress: Progress) -> Tensor:
    """(number of captions, T) int32: half the memory, and every vocabulary fits."""
    progress.start("train: captions", len(captions), "captions")
    parts = []
    for start in range(0, len(captions), TOKENIZE_AT_ONCE):
        some = captions[start : start + TOKENIZE_AT_ONCE]
        parts.append(tokenize(some).int())
        progress.advance(len(some))
    return torch.cat(parts)
