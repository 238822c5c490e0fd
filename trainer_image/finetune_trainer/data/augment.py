"""The one augmentation: a random crop of nearly the whole picture. No flip, for captions speak of left and right."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.order import random_words
from finetune_trainer.data.resize import resized
from finetune_trainer.model.clip import Interpolation

ATTEMPTS = 10
"""Draws before the crop falls back to the centre, as in torchvision."""
_UNIT = 2.0**-64


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def crop_box(
    seed: int,
    epoch: int,
    image: int,
    height: int,
    width: int,
    scale: tuple[float, float] = (0.9, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Box:
    """torchvision's RandomResizedCrop.get_params, drawn from the seed and the place in the run.

    `scale` bounds the crop's share of the area, `ratio` its width over height, uniform in the logarithm.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for attempt in range(ATTEMPTS):
        if attempt % 2 == 0:  # a hash lasts for two attempts of four draws
            words = random_words(b"crop", seed, epoch, image, block=attempt)
        u_area, u_ratio, u_top, u_left = (word * _UNIT for word in words[4 * (attempt % 2) :][:4])
        area = height * width * (scale[0] + (scale[1] - scale[0]) * u_area)
        aspect = math.exp(low + (high - low) * u_ratio)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(u_top * (height - h + 1)), int(u_left * (width - w + 1))
            return Box(min(top, height - h), min(left, width - w), h, w)  # u may round up to 1
    return _centre_box(height, width, ratio)


def _centre_box(height: int, width: int, ratio: tuple[float, float]) -> Box:
    """The largest centred part within `ratio`, at least a pixel."""
    h, w = height, width
    if width / height < ratio[0]:
        h = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        w = max(1, round(height * ratio[1]))
    return Box((height - h) // 2, (width - w) // 2, h, w)


def train_pixels(
    whole: NDArray[np.uint8], box: Box, size: tuple[int, int], interpolation: Interpolation
) -> NDArray[np.uint8]:
    """(H, W, 3): the box of `whole` (h, w, 3), resized with antialiasing to `size` (H, W); nothing outside enters."""
    part = whole[box.top : box.top + box.height, box.left : box.left + box.width]
    return resized(part.copy(), size, interpolation)
