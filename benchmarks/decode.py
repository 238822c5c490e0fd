"""Training pictures decoded and hashed as a run prepares them, against the same by Pillow.

    OMP_NUM_THREADS=1 python benchmarks/decode.py [--quick]

Milliseconds of CPU a picture, by one thread, of photographs of 640 x 480: a JPEG made an array, and the array's
difference hash. Each call takes another picture, so that none is in the processor's cache.
"""

import io
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from finetune_trainer.data.decode import decode, decode_pixels, quiet_pillow
from finetune_trainer.data.hashing import CELLS, dhash
from finetune_trainer.pipeline.hardware import keep_freed_memory
from support import TRIALS, arguments, cpu_ms, describe_machine, finish, spread

GOAL = {"decode": 1.2, "hash": 1.5}
"""Times as fast as Pillow."""
SIZE = (640, 480)


def photographs(count: int) -> list[Image.Image]:
    """Parts of two photographs, each another."""
    originals = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    boxes = ((shift, shift / 2, 600 + shift, 400 + shift / 2) for shift in range(count))
    return [originals[number % 2].resize(SIZE, box=box) for number, box in enumerate(boxes)]


def as_jpeg(picture: Image.Image) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def pillow_hash(pixels: NDArray[np.uint8]) -> int:
    """The definition: a grey picture of 9 x 8."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize(CELLS[::-1], Image.Resampling.BOX))
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def compare(
    ours: Callable[[Any], object], theirs: Callable[[Any], object], given: Sequence[object], repeats: int, trials: int
) -> dict[str, Any]:
    """Both in turn, each on what is `given` one after another."""
    one, other = cycle(given), cycle(given)
    pairs = [
        (cpu_ms(lambda: ours(next(one)), repeats), cpu_ms(lambda: theirs(next(other)), repeats)) for _ in range(trials)
    ]
    return {
        "ours_ms": spread([our for our, _ in pairs]),
        "pillow_ms": spread([their for _, their in pairs]),
        "ratio": spread([their / our for our, their in pairs]),
    }


def main() -> None:
    quick = arguments(__doc__ or "").quick
    keep_freed_memory(torch.device("cpu"))  # as every run on a CPU does; it serves both sides
    repeats, trials = (5, 1) if quick else (200, TRIALS)
    pictures = photographs(5 if quick else 40)
    with quiet_pillow():
        jpegs, arrays = [as_jpeg(picture) for picture in pictures], [np.array(picture) for picture in pictures]
        measured: dict[str, dict[str, Any]] = {
            "decode": compare(decode_pixels, lambda data: np.array(decode(data)[0]), jpegs, repeats, trials),
            "hash": compare(dhash, pillow_hash, arrays, repeats, trials),
        }
        equal = all(np.array_equal(decode_pixels(data)[0], np.array(decode(data)[0])) for data in jpegs)
    bits = [(dhash(pixels) ^ pillow_hash(pixels)).bit_count() for pixels in arrays]
    for name, figures in measured.items():
        print(name, figures, flush=True)
    met = equal and all(measured[name]["ratio"]["median"] >= least for name, least in GOAL.items())
    machine = describe_machine("simplejpeg", "pillow", "numpy")
    apart = {"pixels_equal": equal, "most_bits_of_a_hash_apart": max(bits)}
    finish("decode", {"machine": machine, "quick": quick, **measured, **apart}, GOAL, quick or met)


if __name__ == "__main__":
    main()
