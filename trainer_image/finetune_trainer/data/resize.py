"""Resizing of training pictures: torch's on uint8, which takes a third of Pillow's time (docs/decisions/0013)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from finetune_trainer.model.clip import Interpolation


def resized(pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: Interpolation) -> NDArray[np.uint8]:
    """(h, w, 3), which must be writable, to `size` (H, W), with antialiasing; pixel by pixel in memory, as given.

    The bits of torchvision's on uint8 tensors, Pillow's but for a level or two in few places. Other threads run.
    """
    # Channels last, which torch sees by the batch's stride too: else it takes half as long again.
    tensor = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    made: NDArray[np.uint8] = functional.interpolate(tensor, size, mode=interpolation, antialias=True)[0].numpy()
    return made.transpose(1, 2, 0)
