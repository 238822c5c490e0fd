"""What readers give and what the later stages take. N images, H height, W width."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Form = Literal["raw", "jpeg"]
"""How whole pictures are kept for training; those for evaluation are always raw."""


@dataclass(frozen=True)
class Row:
    """One picture with its captions, as a reader found it; nothing is decoded or checked yet."""

    where: str
    """File and row for messages: 'captions.csv:17', 'train-000.tar:cat.jpg'."""
    name: str
    """The picture's name as the data writes it, for reports."""
    captions: tuple[str, ...]
    load: Callable[[], bytes]
    """The encoded picture; may be called from any thread. Raises BadRow where it is missing."""
    split: str | None = None
    group: str | None = None
    """Rows of one group stay on one side of a split."""
    usable: bool = True
    """False where the row is bad whatever its picture is: `load` then says why."""


class BadRow(Exception):
    """A row that cannot be used; counted, listed, and judged against `data.maxBadFraction`."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


def check_text(text: str, what: str) -> None:
    """Raise BadRow where `text` holds half a character, as JSON's "\\ud83d" is of an emoji that was cut."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = text[: error.start + 1].encode("ascii", "backslashreplace").decode()[-40:]
        raise BadRow("wrong-encoding", f"its {what} holds a part of a character (...{shown}): write it anew") from None


@dataclass(frozen=True)
class Image:
    """A usable picture of the index. Equal pixels make one Image: its rows' captions are joined."""

    where: str
    name: str
    captions: tuple[str, ...]
    """Distinct, in the order met, stripped, none empty."""
    sha256: str
    """Of the encoded bytes."""
    pixels_sha256: str
    """Of the decoded RGB pixels and their size."""
    dhash: int
    """64-bit difference hash of the decoded picture."""
    group: str | None = None
    split: str | None = None
    """The split that the data itself names."""


@dataclass(frozen=True)
class Split:
    """One of train, validation and test."""

    name: str
    images: tuple[Image, ...]
    pixels: "PixelCache"
    """Item i belongs to images[i]."""

    def part(self, indices: Sequence[int], name: str | None = None) -> "Split":
        """The pictures at `indices`, in that order; nothing is copied. `name`: None for this one's."""
        images = tuple(self.images[index] for index in indices)
        return Split(name or self.name, images, self.pixels.subset(indices))

    @property
    def captions(self) -> list[str]:
        """Every caption, image by image: the queries of image retrieval in their order."""
        return [caption for image in self.images for caption in image.captions]

    @property
    def image_of_caption(self) -> NDArray[np.int64]:
        """(number of captions,) the index in `images` that each caption belongs to."""
        return np.repeat(np.arange(len(self.images)), [len(image.captions) for image in self.images])


class PixelCache(Protocol):
    """The decoded pictures of a split on local disk (pixels.py); reading is safe from any thread."""

    def __len__(self) -> int:
        """How many pictures there are; indices run from 0."""
        ...

    def evaluation(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) exactly as open_clip's evaluation transform leaves it before scaling to [0, 1]; read-only."""
        ...

    def whole(self, index: int) -> NDArray[np.uint8]:
        """(h, w, 3) the whole picture, shrunk to 1.14 x the input on the shorter side; read-only, for training only."""
        ...

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> "PixelCache":
        """The pictures at `indices`, in that order, renumbered from 0; nothing is copied."""
        ...
