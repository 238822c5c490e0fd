"""Which form the training pictures are kept in: raw pixels as long as they fit the disk, else JPEG."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finetune_sdk.contract import CACHE_BYTES_VARIABLE
from finetune_sdk.errors import UsageError
from finetune_trainer.data.pixels import Made, PixelWriter
from finetune_trainer.data.stored import StoredPixels
from finetune_trainer.data.types import Form
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.progress import Progress
from finetune_trainer.report.text import byte_size

SHARE = 2
"""Raw pixels take at most one part in so many of the room: test pictures, weights and checkpoints need some too."""
LOOKED_AT = 64
"""Pictures after whose sizes all others are estimated."""


def free_bytes(folder: Path) -> int:
    """What the disk of `folder`, which exists, has left for this user."""
    return shutil.disk_usage(folder).free


def cache_limit(env: Mapping[str, str]) -> int | None:
    """The environment's FINETUNE_CACHE_BYTES; None where it says nothing. Raises UsageError for what is no number."""
    text = env.get(CACHE_BYTES_VARIABLE, "").strip()
    if text and not text.isdecimal():
        needed = "give a number of bytes, such as 20000000000 for 20 GB, or unset it"
        raise UsageError(f"{CACHE_BYTES_VARIABLE} is {text!r}: {needed}")
    return int(text) if text else None


@dataclass(frozen=True)
class Room:
    """What decides the form of the training pictures."""

    form: Form | None = None
    """As an earlier attempt of the run decided, whatever the disk says now; None: by the room there is."""
    limit: int | None = None
    """Bytes that the cache may take; None: what the disk has left."""
    free: Callable[[Path], int] = free_bytes

    def forms(self) -> tuple[Form, ...]:
        """Forms of a cache that is there already which will do, the better one first."""
        return ("raw", "jpeg") if self.form is None else (self.form,)

    def budget(self, folder: Path) -> int | None:
        """Bytes that raw pixels may take in `folder`, which exists; None: as many as there are."""
        if self.form is not None:
            return None
        free = self.free(folder)
        return (free if self.limit is None else min(free, self.limit)) // SHARE


@dataclass(frozen=True)
class Parts:
    """What is kept of each picture."""

    evaluation: bool
    whole: bool


class RoomyWriter:
    """A pixel writer that turns to JPEG once raw pixels do not fit. Use it in `with`: an error discards it.

    What it leaves depends on the form alone: pictures that were raw at first become the same JPEG bytes.
    """

    def __init__(
        self,
        folders: Mapping[Form, Path],
        preprocess: Preprocess,
        parts: Parts,
        room: Room,
        expected: int | None,
        progress: Progress,
    ) -> None:
        """`expected` pictures will come; None: nobody knows. Raises as PixelWriter."""
        form = room.forms()[0]
        self._folders = folders
        self._parts = parts
        self._expected = expected
        self._progress = progress
        self._writer = PixelWriter(folders[form], preprocess, parts.whole, form)
        self._budget = room.budget(folders[form]) if parts.whole else None  # after a killed writer's file is gone
        self._count = 0

    @property
    def form(self) -> Form:
        """As the pictures are kept so far."""
        return self._writer.form

    def __enter__(self) -> "RoomyWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)

    @property
    def needs_image(self) -> bool:
        """Whether `make` needs Pillow's image: evaluation pictures are resized by it."""
        return self._parts.evaluation

    def make(self, pixels: NDArray[np.uint8], image: Image.Image | None) -> Made:
        """What is to be stored of a picture; for any thread. Raises as PixelWriter.make."""
        return self._writer.make(pixels, image)

    def append(self, made: Made) -> int:
        """Store a picture, return its index. Raises as PixelWriter.append."""
        place = self._writer.append(made)
        self._count += 1
        if self._budget is not None and self.form == "raw" and self._needed() > self._budget:
            self._turn_to_jpeg(self._needed(), self._budget)
        return place

    def close(self) -> StoredPixels:
        """Make the cache complete, and open it."""
        return self._writer.close()

    def _needed(self) -> int:
        """Bytes of all pictures as raw pixels, as far as one can tell by now."""
        if self._expected is None or self._count != LOOKED_AT:
            return self._writer.written
        return self._writer.written * max(self._expected, LOOKED_AT) // LOOKED_AT

    def _turn_to_jpeg(self, needed: int, budget: int) -> None:
        self._progress.note(
            f"raw pixels of the training pictures take {byte_size(needed)} or more and the cache has room for "
            f"{byte_size(budget)} of them at {self._folders['raw'].parent}: they are kept as JPEG, decoded at each "
            "use. For raw pixels set FINETUNE_CACHE to a folder on a larger disk"
        )
        self._writer = self._writer.as_jpeg(self._folders["jpeg"])
