"""The training pictures of a step: which they are, cropped and resized. A pure function of the seed and the step."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.augment import crop_box, train_pixels
from finetune_trainer.data.order import stream_batch
from finetune_trainer.data.types import PixelCache
from finetune_trainer.model.clip import Preprocess


@dataclass(frozen=True)
class Crops:
    """The endless stream of cropped pictures, `batch_size` a step; may be sent to another process."""

    pixels: PixelCache
    preprocess: Preprocess
    seed: int
    batch_size: int

    def fill(self, step: int, slots: range, images: NDArray[np.uint8]) -> None:
        """`images` (n, H, W, 3) become the pictures in the n `slots` of a step; most of it lets other threads run."""
        chosen, epochs = stream_batch(self.seed, step, self.batch_size, len(self.pixels))
        for place, slot in enumerate(slots):
            image, epoch = int(chosen[slot]), int(epochs[slot])
            whole = self.pixels.whole(image)
            box = crop_box(self.seed, epoch, image, *whole.shape[:2])
            images[place] = train_pixels(whole, box, self.preprocess.size, self.preprocess.interpolation)
