"""The pixel cache: every picture is decoded once, and read back from one memory-mapped file. H, W: the model's input.

Whole pictures, for training, are raw pixels or JPEG; evaluation pictures are raw, bit by bit what open_clip makes.

A folder holds `pixels-<digest>.bin`, the records one after another, and `pixels.json`, the index that names it. The
index is renamed into place last, after the pixels are on disk: a killed writer leaves nothing that can be opened.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from open_clip.transform import image_transform
from PIL import Image
from torchvision.transforms import Compose

from finetune_sdk.errors import FinetuneError, StorageDenied, StorageUnavailable
from finetune_trainer.data.jpeg import DamagedJpeg, decode_jpeg, encode_jpeg
from finetune_trainer.data.resize import resized
from finetune_trainer.data.types import BadRow, Form
from finetune_trainer.model.clip import Preprocess

WHOLE_SCALE = 1.14
"""Shorter side of a picture kept for training, in inputs: what ImageNet recipes keep (256 for 224)."""
WHOLE_ASPECT = 2.0
"""Longer side over shorter side of a picture kept for training. Beyond 4/3 over 0.9 = 1.48 torchvision's crop always
falls back to the centre 4 : 3, so what lies further out is never looked at."""
LARGEST_RESIZED = 1 << 25
"""Pixels that the evaluation transform may blow a very long picture up to (134 MB) before it crops the centre."""
INDEX = "pixels.json"
VERSION = 3


class PixelsUnusable(Exception):
    """The folder holds no complete cache, or one made for another input; write it again."""


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


def check_shape(picture: Image.Image, preprocess: Preprocess) -> None:
    """Raises BadRow for a picture too long and thin for the evaluation transform."""
    width, height = picture.size
    resized = evaluation_size(preprocess, height, width)
    if min(resized) < 1 or math.prod(resized) > LARGEST_RESIZED:
        raise BadRow("extreme-shape", f"{width} x {height} pixels cannot be resized to the model's input")


def shrink_whole(picture: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """(h, w, 3): the centre within WHOLE_ASPECT, the shorter side shrunk to WHOLE_SCALE inputs, never enlarged."""
    width, height = picture.size
    longest = math.ceil(min(width, height) * WHOLE_ASPECT)
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    box = (left, top, left + min(width, longest), top + min(height, longest))
    if box != (0, 0, width, height):
        picture = picture.crop(box)
    pixels = np.array(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    factor = math.ceil(WHOLE_SCALE * max(preprocess.size)) / min(width, height)
    if factor >= 1:
        return pixels
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return resized(pixels, size, preprocess.interpolation)


class StoredPixels:
    """Pictures in a memory-mapped file, or a choice of them: the PixelCache of types.py."""

    def __init__(
        self,
        file: NDArray[np.uint8],
        table: NDArray[np.int64],
        size: tuple[int, int],
        form: Form,
        path: Path,
        digest: str,
    ) -> None:
        """`table` (N, 5) has a row a picture: where evaluation and whole picture begin in `file`, -1 where there is
        none, then the whole picture's bytes, height and width. `path` is the file's, for messages."""
        self._file = file
        self._table = table
        self._size = size
        self._path = path
        self.form = form
        """Of whole pictures."""
        self.digest = digest
        """SHA-256 of the whole file."""

    def __len__(self) -> int:
        return len(self._table)

    @property
    def pixel_bytes(self) -> int:
        """What the pictures would take if all were raw."""
        evaluations = int((self._table[:, 0] >= 0).sum()) * math.prod(self._size) * 3
        return evaluations + int((self._table[:, 3] * self._table[:, 4]).sum()) * 3

    def evaluation(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3), read-only. Raises IndexError where the writer was told to leave it out."""
        return self._read(index, self._table[index, 0], math.prod(self._size) * 3).reshape(*self._size, 3)

    def whole(self, index: int) -> NDArray[np.uint8]:
        """(h, w, 3), read-only; of JPEG it is decoded anew.

        Raises IndexError where the writer was told to leave it out, StorageUnavailable for a JPEG that was damaged.
        """
        start, length, height, width = self._table[index, 1:]
        data = self._read(index, start, length)
        if self.form == "raw":
            return data.reshape(height, width, 3)
        try:
            return decode_jpeg(data.tobytes(), height, width)
        except DamagedJpeg as error:
            raise StorageUnavailable(
                f"picture {index} in the cache file {self._path} is damaged ({error}): delete {self._path.parent}, "
                "it is written anew; check that disk if this comes again"
            ) from error

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> "StoredPixels":
        """The pictures at `indices`, in that order; the file is shared."""
        chosen = self._table[np.asarray(indices, dtype=np.int64)]
        return StoredPixels(self._file, chosen, self._size, self.form, self._path, self.digest)

    def _read(self, index: int, start: int, length: int) -> NDArray[np.uint8]:
        if start < 0:
            raise IndexError(f"the cache keeps no such pixels of picture {index}")
        return self._file[start : start + length]


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

    def add(self, rgb: Image.Image, *, evaluation: bool = True, whole: bool | None = None) -> int:
        """Store a picture, return its index; `evaluation` and `whole` (None: as the writer was made) choose its parts.

        Raises BadRow for a picture too long and thin to be resized, StorageUnavailable where the disk is full.
        """
        check_shape(rgb, self._preprocess)
        first = np.asarray(self._transform(rgb)) if evaluation else None
        second = shrink_whole(rgb, self._preprocess) if (self._whole if whole is None else whole) else None
        self._append(first, second)
        return len(self._sizes) - 1

    def as_jpeg(self, folder: Path) -> "PixelWriter":
        """A writer in `folder` that has all of this one's pictures, whole ones as JPEG; this one is discarded.

        It holds the same bytes as if it had been given the pictures itself.
        """
        other = PixelWriter(folder, self._preprocess, self._whole, "jpeg")
        try:
            self._file.flush()
            with self._partial.open("rb") as written:
                for evaluation, height, width, _ in self._sizes:
                    first = _pixels_of(written, *self._preprocess.size) if evaluation else None
                    other._append(first, _pixels_of(written, height, width) if height else None)
        except OSError as error:
            other.discard()
            raise cache_error(error, folder) from error
        finally:
            self.discard()
        return other

    def _append(self, evaluation: NDArray[np.uint8] | None, whole: NDArray[np.uint8] | None) -> None:
        """Write a picture's parts: (H, W, 3) and (h, w, 3)."""
        kept = b"" if whole is None else encode_jpeg(whole) if self.form == "jpeg" else whole.tobytes()
        data = kept if evaluation is None else evaluation.tobytes() + kept
        try:
            self._file.write(data)
        except OSError as error:
            self.discard()
            raise cache_error(error, self._folder) from error
        self._hash.update(data)
        self.written += len(data)
        height, width = (0, 0) if whole is None else whole.shape[:2]
        self._sizes.append([int(evaluation is not None), height, width, len(kept)])

    def close(self) -> StoredPixels:
        """Make the cache complete, and open it. Pixels reach the disk before the index that vouches for them."""
        digest = self._hash.hexdigest()
        body = {
            "version": VERSION,
            "preprocess": _identity(self._preprocess),
            "form": self.form,
            "file": f"pixels-{digest[:16]}.bin",
            "digest": digest,
            "sizes": self._sizes,
        }
        index = self._partial.with_suffix(".json-partial")
        try:
            _to_disk(self._file)
            with index.open("wb") as file:
                file.write(json.dumps({"checksum": _checksum(body), **body}, separators=(",", ":")).encode())
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


def open_pixels(folder: Path, preprocess: Preprocess) -> StoredPixels:
    """Open a complete cache. Raises PixelsUnusable where there is none that was made for `preprocess`."""
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_bytes())
        checksum = index.pop("checksum")
        if checksum != _checksum(index) or index["version"] != VERSION:
            raise PixelsUnusable(f"{folder / INDEX} is damaged or of another version")
        if index["preprocess"] != _identity(preprocess):
            raise PixelsUnusable(f"{folder} was made for another input: {index['preprocess']}")
        path = folder / index["file"]
        sizes = np.array(index["sizes"], dtype=np.int64).reshape(-1, 4)
        lengths = np.stack([sizes[:, 0] * math.prod(preprocess.size) * 3, sizes[:, 3]], axis=1)
        ends = lengths.ravel().cumsum().reshape(-1, 2)
        length = int(ends[-1, 1]) if len(ends) else 0
        if path.stat().st_size != length:
            raise PixelsUnusable(f"{path} has {path.stat().st_size} bytes instead of {length}")
        file = np.asarray(np.memmap(path, np.uint8, "r") if length else np.empty(0, np.uint8))
        table = np.column_stack([np.where(lengths > 0, ends - lengths, -1), sizes[:, 3], sizes[:, 1:3]])
        return StoredPixels(file, table, preprocess.size, index["form"], path, index["digest"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PixelsUnusable(f"{folder} holds no complete pixel cache: {error}") from error


def cache_error(error: OSError, folder: Path) -> FinetuneError:
    """What a failed write to the cache means to the user."""
    remedy = "set FINETUNE_CACHE to a folder on another disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageUnavailable(f"the disk of the cache folder {folder} is full: free space there, or {remedy}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageDenied(f"the cache folder {folder} cannot be written ({error.strerror}): allow it, or {remedy}")
    return StorageUnavailable(f"the cache folder {folder} cannot be used ({error}): {remedy}")


def _pixels_of(file: BinaryIO, height: int, width: int) -> NDArray[np.uint8]:
    """The next (height, width, 3) of raw pixels."""
    return np.frombuffer(file.read(height * width * 3), np.uint8).reshape(height, width, 3)


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


def _identity(preprocess: Preprocess) -> dict[str, object]:
    """What decides the stored bytes: mean and standard deviation do not."""
    identity = asdict(preprocess)
    return {key: identity[key] for key in ("interpolation", "resize_mode", "fill_color")} | {"size": [*preprocess.size]}


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
