"""Whole pictures as JPEG, for training sets whose pixels would fill the disk. h, w: a picture's own size.

Pillow decodes with the bits of torchvision.io.decode_jpeg; that takes 0.8 to 0.9 of the time, which is not worth a
second decoder. Both let other threads run meanwhile.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 95
"""Of 100, with colours at full resolution (4:4:4): a photograph takes about a quarter of its pixels."""


class DamagedJpeg(Exception):
    """The bytes are not the picture that was encoded."""


def encode_jpeg(whole: NDArray[np.uint8]) -> bytes:
    """The picture (h, w, 3). The same pixels give the same bytes, with one version of Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def decode_jpeg(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """(h, w, 3), read-only. Raises DamagedJpeg for bytes that cannot be decoded or have another size."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedJpeg(str(error)) from error
    if pixels.shape != (height, width, 3):
        raise DamagedJpeg(f"its shape is {pixels.shape} instead of {(height, width, 3)}")
    return pixels
