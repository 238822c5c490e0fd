"""Which image and caption come when: pure functions of the seed and of a place in the run, so no state is saved."""

import hashlib
import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WORDS = 8
"""Random words of one hash: BLAKE2b yields 64 bytes in about a microsecond, a numpy generator takes twenty."""
_PACK = struct.Struct("<4q")
_UNPACK = struct.Struct("<8Q")


def random_words(purpose: bytes, seed: int, first: int = 0, second: int = 0, block: int = 0) -> tuple[int, ...]:
    """Eight independent 64-bit words that depend on all arguments and on nothing else, on any machine.

    `purpose` (at most 16 bytes) keeps draws for different ends apart; `block` continues a stream.
    """
    key = _PACK.pack(seed, first, second, block)
    return _UNPACK.unpack(hashlib.blake2b(key, person=purpose).digest())


@lru_cache(maxsize=2)  # a batch touches one epoch, or the border of two
def epoch_order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """(n,) every image once, shuffled; read-only. Sorts Philox's raw words, whose stream numpy promises to keep."""
    low, high, *_ = random_words(b"order", seed, epoch)
    order = np.random.Philox(key=low | high << 64).random_raw(n).argsort(kind="stable")
    order.setflags(write=False)
    return order


def stream_batch(seed: int, step: int, batch_size: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The images (B,) of a step (from 0) and the epoch (B,) that each belongs to.

    Epochs follow each other in one endless stream that is cut into batches: none is shorter than the others, and no
    image is left out at an epoch's end.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    epochs, places = np.divmod(positions, n)
    images = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        images[here] = epoch_order(seed, int(epoch), n)[places[here]]
    return images, epochs


def caption_of(seed: int, image: int, epoch: int, n_captions: int) -> int:
    """Which of an image's captions an epoch shows: each image goes round its own shuffled list."""
    if n_captions == 1:
        return 0
    blocks = range(-(-n_captions // WORDS))
    words = [word for block in blocks for word in random_words(b"caption", seed, image, block=block)]
    return sorted(range(n_captions), key=words.__getitem__)[epoch % n_captions]
