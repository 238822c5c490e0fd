"""JPEG: reading the training pictures, and keeping them whole where their pixels would fill the disk. h, w: a
picture's own size.

simplejpeg decodes with the bits of Pillow in four fifths of its time (`benchmarks/decode.py`): it writes the pixels
where they are wanted, Pillow copies them twice. Both are libjpeg-turbo, and both let other threads run meanwhile.
"""

import io

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

QUALITY = 95
"""Of 100, with colours at full resolution (4:4:4): a photograph takes about a quarter of its pixels."""


class DamagedJpeg(Exception):
    """The bytes are not the picture that was encoded, or it cannot be told whether they are."""


def encode_jpeg(whole: NDArray[np.uint8]) -> bytes:
    """The picture (h, w, 3). The same pixels give the same bytes, with one version of Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def decode_jpeg(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """(h, w, 3) in RGB. Raises DamagedJpeg for bytes that libjpeg doubts in the least, or of another size."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError as error:
        raise DamagedJpeg(str(error)) from error
    if pixels.shape != (height, width, 3):
        raise DamagedJpeg(f"its shape is {pixels.shape} instead of {(height, width, 3)}")
    return pixels
