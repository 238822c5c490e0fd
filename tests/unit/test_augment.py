"""The random crop against torchvision's RandomResizedCrop, which it must equal in distribution."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.functional import resized_crop
from torchvision.transforms.v2 import functional as tensors

from finetune_trainer.data.augment import Box, crop_box, train_pixels
from finetune_trainer.data.pixels import WHOLE_ASPECT

DRAWS = 3000
CASES = {
    "a 4 : 3 picture, as trained": (255, 340, (0.9, 1.0), (3 / 4, 4 / 3)),
    "a square": (255, 255, (0.9, 1.0), (3 / 4, 4 / 3)),
    "a high picture": (340, 240, (0.9, 1.0), (3 / 4, 4 / 3)),
    "open crops of ImageNet's kind": (255, 300, (0.08, 1.0), (3 / 4, 4 / 3)),
    "a picture where many draws do not fit": (200, 290, (0.9, 1.0), (3 / 4, 4 / 3)),
}


def figures(boxes: Sequence[tuple[int, ...]], height: int, width: int) -> dict[str, NDArray[np.float64]]:
    top, left, h, w = np.array(boxes, dtype=float).T
    free_top, free_left = np.maximum(height - h, 1), np.maximum(width - w, 1)
    return {"height": h, "width": w, "area": h * w, "ratio": w / h, "top": top / free_top, "left": left / free_left}


@pytest.mark.parametrize(("height", "width", "scale", "ratio"), CASES.values(), ids=CASES)
def test_crops_are_distributed_as_torchvisions(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    torch.manual_seed(0)
    blank = Image.new("RGB", (width, height))
    theirs = [RandomResizedCrop.get_params(blank, list(scale), list(ratio)) for _ in range(DRAWS)]
    ours = [crop_box(0, draw % 7, draw, height, width, scale, ratio) for draw in range(DRAWS)]
    expected = figures(theirs, height, width)
    for name, values in figures(ours, height, width).items():
        assert ks_2samp(values, expected[name], method="asymp").pvalue > 0.01, name


FALLBACKS = {
    "very wide: the centre at 4 : 3": (90, 400),
    "very high: the centre at 3 : 4": (400, 90),
    "one row": (1, 50),
    "one pixel": (1, 1),
}


@pytest.mark.parametrize(("height", "width"), FALLBACKS.values(), ids=FALLBACKS)
def test_what_no_draw_fits_is_cropped_as_torchvision_does(height: int, width: int) -> None:
    expected = RandomResizedCrop.get_params(Image.new("RGB", (width, height)), [0.9, 1.0], [3 / 4, 4 / 3])
    assert tuple(crop_box(0, 1, 2, height, width)) == expected


def test_a_column_of_one_pixel_keeps_a_pixel() -> None:
    assert crop_box(0, 0, 0, 1, 1, ratio=(2.0, 3.0)) == Box(0, 0, 1, 1)


def test_beyond_the_stored_aspect_the_crop_is_always_the_centre() -> None:
    """pixels.py cuts pictures at WHOLE_ASPECT: that must never take away what a crop could have shown."""
    height, width = 100, int(100 * WHOLE_ASPECT)
    assert {crop_box(0, 0, image, height, width) for image in range(500)} == {Box(0, 33, 100, 133)}


def test_the_crop_depends_on_seed_epoch_and_image_only() -> None:
    boxes = [crop_box(*key, 255, 340) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]]
    assert len(set(boxes)) == 4
    assert crop_box(0, 0, 0, 255, 340) == boxes[0]


@pytest.mark.parametrize("size", [(32, 24), (50, 61), (75, 80)], ids=["smaller", "as it is", "larger"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_cropped_pixels_have_the_bits_of_torchvisions_resized_crop(interpolation: str, size: tuple[int, int]) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    whole.setflags(write=False)
    box = Box(3, 5, 50, 61)
    ours = train_pixels(whole, box, size, "bicubic" if interpolation == "bicubic" else "bilinear")
    tensor = torch.from_numpy(whole.copy()).permute(2, 0, 1)
    theirs = tensors.resized_crop(tensor, *box, [*size], InterpolationMode(interpolation), antialias=True)
    assert np.array_equal(ours, theirs.permute(1, 2, 0))
    pillows = resized_crop(Image.fromarray(whole), *box, [*size], InterpolationMode(interpolation))
    assert np.abs(ours.astype(int) - np.asarray(pillows)).max() <= 2
