"""Encoded bytes to RGB exactly as open_clip does it: Pillow, the first frame, `convert("RGB")`, EXIF not applied."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from finetune_trainer.data.jpeg import DamagedJpeg, decode_jpeg
from finetune_trainer.data.types import BadRow

MOST_PIXELS: Final = 89_478_485
"""Pillow's own limit, above which it warns of a decompression bomb: 268 MB of RGB."""
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened: Pillow knows more, some of which run other programs (EPS)."""
ORIENTATION: Final = 0x0112
"""EXIF's tag; 1 is upright."""
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on broken input; memory that runs out is not among them."""


def decode(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture as RGB, and its oddities: cmyk, alpha, palette, grey16, animated, exif-rotated.

    The size is checked before pixels are decoded. Raises BadRow: empty-image, not-an-image, huge-image, broken-image.
    Call it inside `quiet_pillow`.
    """
    image = _open(data)
    with _told_as_broken():
        oddities = _oddities(image)
        return _loaded(image), oddities


def decode_pixels(data: bytes) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """(height, width, 3): the pixels that `decode` gives, by a quicker way for JPEG, and the oddities.

    Raises BadRow as `decode`.
    """
    image = _open(data)
    with _told_as_broken():
        oddities = _oddities(image)
        if image.format == "JPEG" and image.mode == "RGB":
            with suppress(DamagedJpeg):  # Pillow says what is wrong, or reads it all the same
                return decode_jpeg(data, image.height, image.width), oddities
        return np.array(_loaded(image)), oddities


def _open(data: bytes) -> Image.Image:
    """The header is read, and the size checked."""
    if not data:
        raise BadRow("empty-image", "the file has no bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=_known_formats())
    except Image.DecompressionBombError:
        raise BadRow("huge-image", f"more than {2 * MOST_PIXELS:,} pixels; at most {MOST_PIXELS:,} are read") from None
    except UnidentifiedImageError:
        raise BadRow("not-an-image", f"{len(data):,} bytes that are none of {', '.join(FORMATS)}") from None
    except UNREADABLE as error:
        raise BadRow("broken-image", _reason(error)) from None
    if image.width * image.height > MOST_PIXELS:
        size = f"{image.width} x {image.height} pixels"
        raise BadRow("huge-image", f"{size}; at most {MOST_PIXELS:,} in all are read: make it smaller")
    return image


def _loaded(image: Image.Image) -> Image.Image:
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


@contextmanager
def _told_as_broken() -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise BadRow("broken-image", _reason(error)) from None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings about single pictures to itself: what they say is checked here and reported by row.

    Filters belong to the whole process, so this is entered once around all threads that decode.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _known_formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _oddities(image: Image.Image) -> tuple[str, ...]:
    """What a person may not expect of how the picture is read; looked at before it is decoded."""
    found = []
    if image.mode in ("CMYK", "YCCK"):
        found.append("cmyk")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        found.append("alpha")
    if image.mode in ("P", "PA"):
        found.append("palette")
    if image.mode.startswith(("I", "F")):
        found.append("grey16")
    if image.format != "MPO" and getattr(image, "is_animated", False):
        found.append("animated")
    if _orientation(image) not in (None, 0, 1):
        found.append("exif-rotated")
    return tuple(found)


def _orientation(image: Image.Image) -> object:
    """EXIF's orientation, None where there is none or it cannot be read: it is not applied either way."""
    if image.format == "TIFF" and isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2.get(ORIENTATION)
    exif = image.info.get("exif")
    if not exif:
        return None
    try:
        parsed = Image.Exif()
        parsed.load(exif)
        return parsed.get(ORIENTATION)
    except UNREADABLE:
        return None


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
