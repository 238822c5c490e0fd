"""Batches for training and evaluation. B batch, H height, W width, T tokens.

Images are uint8 until they are normalised, which belongs on the model's device: a quarter of the bytes to move.
"""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from finetune_trainer.data.augment import crop_box, train_pixels
from finetune_trainer.data.order import caption_of, stream_batch
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import Preprocess, Tokenizer

PREFETCH = 3
"""Batches begun ahead of the one that is used: they hide a slow picture or a slow read."""
TOKENIZE_AT_ONCE = 4096
"""Captions handed to the tokenizer in one call: bounds its memory."""


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
        self, split: Split, tokenize: Tokenizer, preprocess: Preprocess, *, seed: int, batch_size: int, workers: int
    ) -> None:
        """Tokenizes every caption once. `workers` threads make batches ahead; 0: none, the caller's thread does."""
        self._split = split
        self._preprocess = preprocess
        self._seed = seed
        self._batch_size = batch_size
        self._workers = workers
        self._number = {caption: place for place, caption in enumerate(dict.fromkeys(split.captions))}
        self._tokens = _tokenize(tokenize, list(self._number))

    def iterate(self, first_step: int, last_step: int) -> Generator[Batch]:
        """Batches of steps `first_step` to `last_step`, the latter excluded. An error in a thread is raised here.

        Close the iterator to stop early: once `close` returns, no thread is left.
        """
        steps = range(first_step, last_step)
        return self._inline(steps) if self._workers == 0 else self._threaded(steps)

    def _inline(self, steps: range) -> Generator[Batch]:
        for step in steps:
            batch = self._begin(step)
            self._fill(batch, slice(None))
            yield batch

    def _threaded(self, steps: range) -> Generator[Batch]:
        """Each batch is dealt out to all threads, so that the first one comes as soon as it can."""
        executor = ThreadPoolExecutor(self._workers, thread_name_prefix="batches")
        ahead: deque[tuple[Batch, list[Future[None]]]] = deque()
        try:
            for step in steps:
                batch = self._begin(step)
                hands = (slice(first, None, self._workers) for first in range(self._workers))
                ahead.append((batch, [executor.submit(self._fill, batch, hand) for hand in hands]))
                if len(ahead) > PREFETCH:
                    yield _finished(*ahead.popleft())
            while ahead:
                yield _finished(*ahead.popleft())
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def _begin(self, step: int) -> Batch:
        """A batch whose images are still to be filled in."""
        n = len(self._split.images)
        images, epochs = stream_batch(self._seed, step, self._batch_size, n)
        captions = torch.tensor([self._caption(*place) for place in zip(images.tolist(), epochs.tolist(), strict=True)])
        return Batch(
            step=step,
            # Colour by colour in memory: as they come from the resizing, and as the model takes them.
            images=torch.empty((self._batch_size, 3, *self._preprocess.size), dtype=torch.uint8).permute(0, 2, 3, 1),
            tokens=self._tokens[captions].long(),
            image_ids=torch.from_numpy(images),
            caption_ids=captions,
            epoch=(step + 1) * self._batch_size / n,
        )

    def _caption(self, image: int, epoch: int) -> int:
        captions = self._split.images[image].captions
        return self._number[captions[caption_of(self._seed, image, epoch, len(captions))]]

    def _fill(self, batch: Batch, hand: slice) -> None:
        """Crop and resize the batch's images in `hand`; most of it lets other threads run."""
        n = len(self._split.images)
        images = batch.images.numpy()  # the same memory
        for slot in range(self._batch_size)[hand]:
            image = int(batch.image_ids[slot])
            epoch = (batch.step * self._batch_size + slot) // n
            whole = self._split.pixels.whole(image)
            box = crop_box(self._seed, epoch, image, *whole.shape[:2])
            images[slot] = train_pixels(whole, box, self._preprocess.size, self._preprocess.interpolation)


def _finished(batch: Batch, hands: list[Future[None]]) -> Batch:
    for hand in hands:
        hand.result()
    return batch


def _tokenize(tokenize: Tokenizer, captions: list[str]) -> Tensor:
    """(number of captions, T) int32: half the memory, and every vocabulary fits."""
    starts = range(0, len(captions), TOKENIZE_AT_ONCE)
    return torch.cat([tokenize(captions[start : start + TOKENIZE_AT_ONCE]).int() for start in starts])
