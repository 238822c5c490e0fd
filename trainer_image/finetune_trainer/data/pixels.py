"""The pixel cache: every picture is decoded once, and read back from one memory-mapped file. H, W: the model's input.

Whole pictures, for training, are raw pixels or JPEG; evaluation pictures are raw, bit by bit what open_clip makes.

A folder holds `pixels-<digest>.bin`, the records one after another, and `pixels.json`, the index that names it. The
index is renamed into place last, after the pixels are on disk: a killed writer leaves nothing that can be opened.
"""

import fcntl
import hashlib
import json
import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from open_clip.transform import image_transform
from PIL import Image
from torchvision.transforms import Compose

from finetune_trainer.cache_error import cache_error
from finetune_trainer.data.jpeg import encode_jpeg
from finetune_trainer.data.resize import resized
from finetune_trainer.data.stored import INDEX, VERSION, StoredPixels, checksum, identity, open_pixels
from finetune_trainer.data.types import BadRow, Form
from finetune_trainer.model.clip import Preprocess

WHOLE_SCALE = 1.14
"""Shorter side of a picture kept for training, in inputs: what ImageNet recipes keep (256 for 224)."""
WHOLE_ASPECT = 2.0
"""Longer side over shorter side of a picture kept for training. Beyond 4/3 over 0.9 = 1.48 torchvision's crop always
falls back to the centre 4 : 3, so what lies further out is never looked at."""
LARGEST_RESIZED = 1 << 25
"""Pixels that the evaluation transform may blow a very long picture up to (134 MB) before it crops the centre."""


def evaluation_transform(preprocess: Preprocess) -> Compose:
    """open_clip's own evaluation transform without its last two steps, ToTensor and Normalize."""
    transform = image_transform(
        preprocess.size,
        is_train=False,
        mean=preprocess.mean,
        std=preprocess.std,
        resize_mode=preprocess.resize_mode,
        interpolation=preprocess.interpolation,
        fill_color=preprocess.fill_color,
    )
    return Compose(transform.transforms[:-2])


def evaluation_size(preprocess: Preprocess, height: int, width: int) -> tuple[int, int]:
    """Height and width to which the evaluation transform resizes a picture before it crops or pads."""
    if preprocess.resize_mode == "squash":
        return preprocess.size
    ratios = (height / preprocess.size[0], width / preprocess.size[1])
    ratio = max(ratios) if preprocess.resize_mode == "longest" else min(ratios)
    return round(height / ratio), round(width / ratio)


def check_shape(height: int, width: int, preprocess: Preprocess) -> None:
    """Raises BadRow for a picture too long and thin for the evaluation transform."""
    resized = evaluation_size(preprocess, height, width)
    if min(resized) < 1 or math.prod(resized) > LARGEST_RESIZED:
        raise BadRow("extreme-shape", f"{width} x {height} pixels cannot be resized to the model's input")


def shrink_whole(pixels: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """(h, w, 3) of any size: the centre within WHOLE_ASPECT, the shorter side shrunk to WHOLE_SCALE inputs, never
    enlarged."""
    height, width = pixels.shape[:2]
    longest = math.ceil(min(width, height) * WHOLE_ASPECT)
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    pixels = pixels[top : top + longest, left : left + longest]
    height, width = pixels.shape[:2]
    factor = math.ceil(WHOLE_SCALE * max(preprocess.size)) / min(width, height)
    if factor >= 1:
        return pixels
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return resized(pixels, size, preprocess.interpolation)


class Made(NamedTuple):
    """What is kept of a picture."""

    evaluation: bytes
    """(H, W, 3) raw pixels, or nothing."""
    whole: bytes
    """(height, width, 3) in `form`, or nothing."""
    form: Form
    height: int
    width: int

    def as_jpeg(self) -> "Made":
        """The same with the whole picture as JPEG."""
        if self.form == "jpeg" or not self.whole:
            return self
        pixels = np.frombuffer(self.whole, np.uint8).reshape(self.height, self.width, 3)
        return self._replace(whole=encode_jpeg(pixels), form="jpeg")


class PixelWriter:
    """Writes a cache; nothing can be opened before `close`. Use it in `with`: leaving by an error discards it."""

    def __init__(self, folder: Path, preprocess: Preprocess, whole: bool, form: Form = "raw") -> None:
        """`whole`: keep pictures for training too, in `form`.

        Raises StorageUnavailable or StorageDenied for an unfit `folder`.
        """
        self._folder = folder
        self._preprocess = preprocess
        self._whole = whole
        self.form: Form = form
        self.written = 0
        """Bytes so far."""
        self._transform = evaluation_transform(preprocess)
        self._hash = hashlib.sha256()
        self._sizes: list[list[int]] = []
        """Of each picture: 1 if it has evaluation pixels, the whole picture's height, width and bytes."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
            self._partial, self._file = _create_partial(folder)
        except OSError as error:
            raise cache_error(error, folder) from error

    def __enter__(self) -> "PixelWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.discard()

    def make(self, pixels: NDArray[np.uint8], image: Image.Image | None) -> Made:
        """What is to be stored of a picture with these (height, width, 3) pixels; may be called from any thread.

        Evaluation pixels are made of `image`, the same picture as Pillow's; of None there are none.
        Raises BadRow for a picture too long and thin to be resized.
        """
        check_shape(pixels.shape[0], pixels.shape[1], self._preprocess)
        first = b"" if image is None else np.asarray(self._transform(image)).tobytes()
        if not self._whole:
            return Made(first, b"", self.form, 0, 0)
        second = shrink_whole(pixels, self._preprocess)
        made = Made(first, second.tobytes(), "raw", *second.shape[:2])
        return made.as_jpeg() if self.form == "jpeg" else made

    def append(self, made: Made) -> int:
        """Store a picture, return its index. Raises StorageUnavailable where the disk is full."""
        if self.form == "jpeg":
            made = made.as_jpeg()  # made before the form was changed
        data = made.evaluation + made.whole
        try:
            self._file.write(data)
        except OSError as error:
            self.discard()
            raise cache_error(error, self._folder) from error
        self._hash.update(data)
        self.written += len(data)
        self._sizes.append([int(bool(made.evaluation)), made.height, made.width, len(made.whole)])
        return len(self._sizes) - 1

    def as_jpeg(self, folder: Path) -> "PixelWriter":
        """A writer in `folder` that has all of this one's pictures, whole ones as JPEG; this one is discarded.

        It holds the same bytes as if it had been given the pictures itself.
        """
        other = PixelWriter(folder, self._preprocess, self._whole, "jpeg")
        size = math.prod(self._preprocess.size) * 3
        try:
            self._file.flush()
            with self._partial.open("rb") as written:
                for evaluation, height, width, length in self._sizes:
                    first = written.read(size) if evaluation else b""
                    other.append(Made(first, written.read(length), "raw", height, width))
        except OSError as error:
            other.discard()
            raise cache_error(error, folder) from error
        finally:
            self.discard()
        return other

    def close(self) -> StoredPixels:
        """Make the cache complete, and open it. Pixels reach the disk before the index that vouches for them."""
        digest = self._hash.hexdigest()
        body = {
            "version": VERSION,
            "preprocess": identity(self._preprocess),
            "form": self.form,
            "file": f"pixels-{digest[:16]}.bin",
            "digest": digest,
            "sizes": self._sizes,
        }
        index = self._partial.with_suffix(".json-partial")
        try:
            _to_disk(self._file)
            with index.open("wb") as file:
                file.write(json.dumps({"checksum": checksum(body), **body}, separators=(",", ":")).encode())
                _to_disk(file)
            self._partial.replace(self._folder / f"pixels-{digest[:16]}.bin")
            index.replace(self._folder / INDEX)
        except OSError as error:
            index.unlink(missing_ok=True)
            self.discard()
            raise cache_error(error, self._folder) from error
        self._file.close()
        return open_pixels(self._folder, self._preprocess)

    def discard(self) -> None:
        """Give up: what was written is removed. After `close` this does nothing."""
        self._partial.unlink(missing_ok=True)
        with suppress(OSError):  # a full disk refuses the last buffer again
            self._file.close()


def _create_partial(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file, locked for as long as its writer lives."""
    descriptor, name = tempfile.mkstemp(suffix=".partial", prefix="pixels-", dir=folder)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return Path(name), os.fdopen(descriptor, "wb", buffering=1 << 20)


def _remove_abandoned(folder: Path) -> None:
    """Free what killed writers left: their locks went with them."""
    for path in folder.glob("pixels-*.partial"):
        with suppress(BlockingIOError, FileNotFoundError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
