"""Small made picture sets, the same set in every format: for tests of data, training and the whole pipeline.

A picture is a coloured shape on a textured ground; its captions say so, so a model can learn the set. The texture makes
difference hashes of any two pictures differ widely, as photographs' do.
"""

import csv
import io
import json
import shutil
import struct
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (38, 84, 200),
    "yellow": (240, 200, 40),
    "purple": (128, 50, 150),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
    "orange": (245, 130, 32),
}
SHAPES = ("circle", "square", "triangle", "diamond", "bar", "ring")
GROUNDS = {"grass": (70, 110, 50), "sand": (190, 165, 110), "water": (60, 110, 140), "stone": (120, 120, 125)}
PLACES = {
    "in the middle": (0.5, 0.5),
    "at the left": (0.25, 0.5),
    "at the right": (0.75, 0.5),
    "at the top": (0.5, 0.25),
    "at the bottom": (0.5, 0.75),
}
PHRASES = (
    "a {colour} {shape} {place} on {ground}",
    "{ground} with a {colour} {shape} {place}",
    "one {shape}, {colour}, {place}, upon {ground}",
    "there is {ground}; {place} lies a {shape} of {colour} colour",
    "picture of a {colour} {shape} ({place}, {ground})",
)


@dataclass(frozen=True)
class Picture:
    """An encoded picture on disk and what is said about it."""

    path: Path
    captions: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.name


def make_pictures(
    folder: Path,
    n: int,
    captions_per_image: int = 2,
    seed: int = 0,
    size: tuple[int, int] = (96, 72),
    suffix: str = ".jpg",
) -> list[Picture]:
    """Write `n` pictures into `folder`, names in the order made; no two are alike, nor any captions up to n = 960."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    kinds = [(c, s, g, p) for c in COLOURS for s in SHAPES for g in GROUNDS for p in PLACES]
    order = random.permutation(len(kinds))
    pictures = []
    for index in range(n):
        colour, shape, ground, place = kinds[order[index % len(kinds)]]
        image = _texture(random, GROUNDS[ground], size)
        _draw(image, shape, COLOURS[colour], PLACES[place])
        path = folder / f"picture-{index:05d}{suffix}"
        path.write_bytes(encode(image, "JPEG", quality=90) if suffix == ".jpg" else encode(image))
        words = {"colour": colour, "shape": shape, "ground": ground, "place": place}
        phrases = [PHRASES[(index + i) % len(PHRASES)].format(**words) for i in range(captions_per_image)]
        pictures.append(Picture(path, tuple(phrases)))
    return pictures


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png(width: int = 100_000, height: int = 100_000) -> bytes:
    """A PNG whose header promises more than anybody wants to decode."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def write_table(
    path: Path,
    pictures: Sequence[Picture],
    *,
    delimiter: str = ",",
    newline: str = "\n",
    bom: bool = False,
    split: Sequence[str] | None = None,
) -> Path:
    """A CSV or TSV beside or above the pictures: a row for each caption, `split[i]` in the rows of picture i."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=newline)
        writer.writerow(["image", "caption"] + (["split"] if split else []))
        for index, picture in enumerate(pictures):
            image = picture.path.relative_to(path.parent) if _below(picture, path) else picture.path
            for caption in picture.captions:
                writer.writerow([str(image), caption] + ([split[index]] if split else []))
    return path


def write_folder(folder: Path, pictures: Sequence[Picture], newline: str = "\n") -> Path:
    """Each picture with a .txt of its captions beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        shutil.copyfile(picture.path, folder / picture.name)
        text = "".join(f"{caption}{newline}" for caption in picture.captions)
        (folder / picture.name).with_suffix(".txt").write_bytes(text.encode())
    return folder


def write_webdataset(
    folder: Path, pictures: Sequence[Picture], *, shards: int = 2, as_json: bool = False, nshards: bool = True
) -> Path:
    """Shards 0.tar, 1.tar, ... in order, with nshards.txt as CLIP Benchmark wants it below a split's name."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard, chunk in enumerate(np.array_split(np.arange(len(pictures)), shards)):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for index in chunk:
                picture = pictures[index]
                stem = f"s{index:07d}"
                add_member(tar, stem + picture.path.suffix, picture.path.read_bytes())
                if as_json:
                    add_member(tar, stem + ".json", json.dumps({"captions": picture.captions}).encode())
                else:
                    add_member(tar, stem + ".txt", "\n".join(picture.captions).encode())
    if nshards:
        (folder / "nshards.txt").write_text(f"{shards}\n")
    return folder


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A regular file of an archive, its name taken as it is."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _below(picture: Picture, table: Path) -> bool:
    return picture.path.is_relative_to(table.parent)


def _texture(random: np.random.Generator, ground: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    coarse = random.integers(-90, 90, (9, 12, 1)) + random.integers(-25, 25, (9, 12, 3)) + np.array(ground)
    image = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    fine = np.asarray(image, np.int16) + random.integers(-12, 13, (size[1], size[0], 3))
    return Image.fromarray(fine.clip(0, 255).astype(np.uint8))


def _draw(image: Image.Image, shape: str, colour: tuple[int, int, int], place: tuple[float, float]) -> None:
    width, height = image.size
    x, y, r = place[0] * width, place[1] * height, min(width, height) * 0.2
    box = (x - r, y - r, x + r, y + r)
    draw = ImageDraw.Draw(image)
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "ring":
        draw.ellipse(box, outline=colour, width=max(2, int(r / 3)))
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    elif shape == "bar":
        draw.rectangle((x - r, y - r / 3, x + r, y + r / 3), fill=colour)
    elif shape == "triangle":
        draw.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=colour)
    else:
        draw.polygon([(x, y - r), (x + r, y), (x, y + r), (x - r, y)], fill=colour)
