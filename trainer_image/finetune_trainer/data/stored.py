"""The pixel cache as it is read: one memory-mapped file, and an index that vouches for it."""

import fcntl
import hashlib
import json
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_sdk.errors import StorageUnavailable
from finetune_trainer.data.jpeg import DamagedJpeg, decode_jpeg
from finetune_trainer.data.types import Form
from finetune_trainer.model.clip import Preprocess

INDEX = "pixels.json"
VERSION = 3


class PixelsUnusable(Exception):
    """The folder holds no complete cache, or one made for another input; write it again."""


class StoredPixels:
    """Pictures in a memory-mapped file, or a choice of them: the PixelCache of types.py."""

    def __init__(
        self,
        file: "HeldFile",
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

    def __getstate__(self) -> dict[str, Any]:
        """For another process of this machine, which maps the file anew."""
        return {name: value for name, value in self.__dict__.items() if name != "_file"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._file = HeldFile(self._path)

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
            pixels = decode_jpeg(data.tobytes(), height, width)
        except DamagedJpeg as error:
            raise StorageUnavailable(
                f"picture {index} in the cache file {self._path} is damaged ({error}): delete {self._path.parent}, "
                "it is written anew; check that disk if this comes again"
            ) from error
        pixels.flags.writeable = False
        return pixels

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> "StoredPixels":
        """The pictures at `indices`, in that order; the file is shared."""
        chosen = self._table[np.asarray(indices, dtype=np.int64)]
        return StoredPixels(self._file, chosen, self._size, self.form, self._path, self.digest)

    def _read(self, index: int, start: int, length: int) -> NDArray[np.uint8]:
        if start < 0:
            raise IndexError(f"the cache keeps no such pixels of picture {index}")
        return self._file.bytes[start : start + length]


class HeldFile:
    """A file's bytes, mapped. While it lives a shared lock tells those who would remove the file that it is read."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        # An empty file cannot be mapped.
        mapped = np.memmap(path, np.uint8, "r") if os.fstat(self._descriptor).st_size else np.empty(0, np.uint8)
        self.bytes: NDArray[np.uint8] = np.asarray(mapped)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            os.close(self._descriptor)


def open_pixels(folder: Path, preprocess: Preprocess) -> StoredPixels:
    """Open a complete cache. Raises PixelsUnusable where there is none that was made for `preprocess`."""
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_bytes())
        vouched = index.pop("checksum")
        if vouched != checksum(index) or index["version"] != VERSION:
            raise PixelsUnusable(f"{folder / INDEX} is damaged or of another version")
        if index["preprocess"] != identity(preprocess):
            raise PixelsUnusable(f"{folder} was made for another input: {index['preprocess']}")
        path = folder / index["file"]
        sizes = np.array(index["sizes"], dtype=np.int64).reshape(-1, 4)
        lengths = np.stack([sizes[:, 0] * math.prod(preprocess.size) * 3, sizes[:, 3]], axis=1)
        ends = lengths.ravel().cumsum().reshape(-1, 2)
        length = int(ends[-1, 1]) if len(ends) else 0
        if path.stat().st_size != length:
            raise PixelsUnusable(f"{path} has {path.stat().st_size} bytes instead of {length}")
        table = np.column_stack([np.where(lengths > 0, ends - lengths, -1), sizes[:, 3], sizes[:, 1:3]])
        return StoredPixels(HeldFile(path), table, preprocess.size, index["form"], path, index["digest"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PixelsUnusable(f"{folder} holds no complete pixel cache: {error}") from error


def identity(preprocess: Preprocess) -> dict[str, object]:
    """What of the model's input decides the stored bytes: mean and standard deviation do not."""
    fields = asdict(preprocess)
    return {key: fields[key] for key in ("interpolation", "resize_mode", "fill_color")} | {"size": [*preprocess.size]}


def checksum(body: dict[str, Any]) -> str:
    """Of the index's other fields."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
