"""A Split of made pictures, decoded into a pixel cache, without a run's data stage."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from finetune_trainer.data.pixels import PixelWriter
from finetune_trainer.data.types import Image, Split
from finetune_trainer.model.clip import Preprocess
from tests.support.pictures import Picture


def add(writer: PixelWriter, image: Pictures.Image, *, evaluation: bool = True) -> int:
    """Store a picture, return its index."""
    return writer.append(writer.make(np.array(image.convert("RGB")), image if evaluation else None))


def split_of(pictures: Sequence[Picture], preprocess: Preprocess, folder: Path, name: str = "test") -> Split:
    """The pictures in their order; their pixels are cached below `folder`."""
    images = []
    with PixelWriter(folder, preprocess, whole=False) as writer:
        for picture in pictures:
            data = picture.path.read_bytes()
            with Pictures.open(picture.path) as opened:
                rgb = opened.convert("RGB")
            add(writer, rgb)
            pixels = hashlib.sha256(repr(rgb.size).encode() + rgb.tobytes()).hexdigest()
            sha256 = hashlib.sha256(data).hexdigest()
            images.append(Image(picture.name, picture.name, picture.captions, sha256, pixels, dhash=0))
        return Split(name, tuple(images), writer.close())
