"""Training pictures made smaller and cropped as a run does it, by torch, against the same by Pillow.

    OMP_NUM_THREADS=1 python benchmarks/resize.py [--quick]

Milliseconds of CPU a picture, by one thread, of a photograph of 640 x 480 for an input of 224: first made 341 x 256 for
the cache, then cropped. How far the pixels are apart is told too.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from finetune_trainer.data.augment import Box, train_pixels
from finetune_trainer.data.resize import resized
from finetune_trainer.pipeline.hardware import keep_freed_memory
from support import TRIALS, arguments, cpu_ms, describe_machine, finish, spread

GOAL = 2.0
"""Times as fast as Pillow, both."""
SMALLER, INPUT = (256, 341), (224, 224)
BOX = Box(5, 3, 245, 327)
BICUBIC = Image.Resampling.BICUBIC
Pixels = NDArray[np.uint8]


def by_pillow(picture: Image.Image, size: tuple[int, int]) -> Pixels:
    """(H, W, 3): `picture` resized to `size` (H, W)."""
    return np.asarray(picture.resize((size[1], size[0]), BICUBIC))


def compare(ours: Callable[[], Pixels], theirs: Callable[[], Pixels], repeats: int, trials: int) -> dict[str, Any]:
    """Both in turn, and the share of values that differ, with the largest difference."""
    pairs = [(cpu_ms(ours, repeats), cpu_ms(theirs, repeats)) for _ in range(trials)]
    apart = np.abs(ours().astype(int) - theirs())
    return {
        "torch_ms": spread([our for our, _ in pairs]),
        "pillow_ms": spread([their for _, their in pairs]),
        "ratio": spread([their / our for our, their in pairs]),
        "values_that_differ": round(float((apart > 0).mean()), 5),
        "by_at_most": int(apart.max()),
    }


def main() -> None:
    quick = arguments(__doc__ or "").quick
    keep_freed_memory(torch.device("cpu"))  # as every run on a CPU does; it serves both sides
    photograph = Image.fromarray(load_sample_images().images[0]).resize((640, 480), BICUBIC)
    whole = by_pillow(photograph, SMALLER)
    part = whole[BOX.top : BOX.top + BOX.height, BOX.left : BOX.left + BOX.width]
    repeats, trials = (5, 1) if quick else (200, TRIALS)
    measured = {
        "smaller": compare(
            lambda: resized(np.array(photograph), SMALLER, "bicubic"),
            lambda: by_pillow(photograph, SMALLER),
            repeats,
            trials,
        ),
        "crop": compare(
            lambda: train_pixels(whole, BOX, INPUT, "bicubic"),
            lambda: by_pillow(Image.fromarray(part), INPUT),
            repeats,
            trials,
        ),
    }
    for name, figures in measured.items():
        print(name, figures, flush=True)
    machine = describe_machine("torch", "pillow")
    least = min(figures["ratio"]["median"] for figures in measured.values())
    finish("resize", {"machine": machine, "quick": quick, **measured}, {"ratio": GOAL}, quick or least >= GOAL)


if __name__ == "__main__":
    main()
