"""Decoding: the pixels that open_clip would see, and every kind of picture that cannot be used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from finetune_trainer.data.decode import MOST_PIXELS, decode, decode_pixels, quiet_pillow
from finetune_trainer.data.types import BadRow
from tests.support.pictures import encode, huge_png

SIZE = (40, 30)


def noise(mode: str) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(noise("RGB"), "JPEG", exif=exif)


ODD = {
    "plain": (encode(noise("RGB"), "JPEG"), ()),
    "CMYK": (encode(noise("CMYK"), "JPEG"), ("cmyk",)),
    "alpha": (encode(noise("RGBA")), ("alpha",)),
    "grey with alpha": (encode(noise("LA")), ("alpha",)),
    "palette": (encode(noise("P")), ("palette",)),
    "palette with transparency": (encode(noise("P"), transparency=bytes(range(256))), ("alpha", "palette")),
    "grey": (encode(noise("L")), ()),
    "sixteen bits": (encode(Image.fromarray(np.full((30, 40), 40_000, np.uint16))), ("grey16",)),
    "animated GIF": (
        encode(noise("P"), "GIF", save_all=True, append_images=[Image.new("P", SIZE, 3)]),
        ("palette", "animated"),
    ),
    "animated WebP": (
        encode(noise("RGB"), "WEBP", save_all=True, append_images=[Image.new("RGB", SIZE)], lossless=True),
        ("animated",),
    ),
    "rotated by EXIF": (rotated(), ("exif-rotated",)),
    "TIFF": (encode(noise("RGB"), "TIFF"), ()),
    "broken EXIF": (encode(noise("RGB"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), ()),
}


@pytest.mark.parametrize(("data", "oddities"), ODD.values(), ids=ODD)
def test_odd_pictures_are_read_as_open_clip_reads_them(data: bytes, oddities: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(data)
    with quiet_pillow():
        rgb, found = decode(data)
        pixels, found_too = decode_pixels(data)
        with Image.open(tmp_path / "picture") as image:
            expected = image.convert("RGB")
    assert found == found_too == oddities
    assert rgb.size == SIZE
    assert np.array_equal(pixels, np.asarray(expected))
    assert rgb.tobytes() == expected.tobytes()


JPEG = encode(noise("RGB"), "JPEG")
PNG = encode(noise("RGB"))
BAD = {
    "no bytes": (b"", "empty-image", "no bytes"),
    "a web page": (b"<!DOCTYPE html><html>", "not-an-image", "21 bytes that are none of AVIF, BMP"),
    "another program's format": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not-an-image", "none of"),
    "a cut JPEG": (JPEG[: len(JPEG) // 2], "broken-image", "truncated"),
    "a cut PNG": (PNG[: len(PNG) // 2], "broken-image", ""),
    "damaged in the middle": (PNG[:60] + bytes(40) + PNG[100:], "broken-image", ""),
    "a bomb": (huge_png(), "huge-image", f"at most {MOST_PIXELS:,} are read"),
    "just too large": (huge_png(10_000, 10_000), "huge-image", "10000 x 10000 pixels; at most 89,478,485"),
}


@pytest.mark.parametrize("read", [decode, decode_pixels])
@pytest.mark.parametrize(("data", "kind", "detail"), BAD.values(), ids=BAD)
def test_a_picture_that_cannot_be_used_is_a_bad_row(
    data: bytes, kind: str, detail: str, read: Callable[[bytes], object]
) -> None:
    with quiet_pillow(), pytest.raises(BadRow) as caught:
        read(data)
    assert caught.value.kind == kind
    assert detail in caught.value.detail


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """Some bytes changed, put in, or the rest of them gone."""
    place = int(random.integers(2, len(data)))
    if (way := random.integers(0, 4)) == 0:
        return data[:place]
    if way == 1:
        return data[:place] + random.bytes(int(random.integers(1, 9))) + data[place:]
    changed = bytearray(data)
    for at in random.integers(0, len(data), int(random.integers(1, 8))):
        changed[at] = random.integers(0, 256)
    return bytes(changed)


def test_random_damage_never_escapes_as_another_error() -> None:
    random = np.random.default_rng(1)
    originals = [data for data, _ in ODD.values()]
    kinds = set()
    for attempt in range(400):
        with quiet_pillow():
            try:
                assert decode(damaged(originals[attempt % len(originals)], random))[0].mode == "RGB"
            except BadRow as bad:
                kinds.add(bad.kind)
    assert kinds <= {"broken-image", "not-an-image", "huge-image"}


JPEGS: dict[str, dict[str, Any]] = {
    "colours at full resolution": {"subsampling": "4:4:4"},
    "colours at half the width": {"subsampling": "4:2:2"},
    "the usual": {"subsampling": "4:2:0"},
    "of low quality": {"quality": 5},
    "of the best": {"quality": 100},
    "progressive": {"progressive": True},
    "in parts": {"restart_marker_blocks": 2},
    "kept as RGB": {"keep_rgb": True, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize("settings", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (33, 50), (64, 48)])
def test_a_jpeg_whole_or_damaged_has_pillows_pixels_or_pillows_refusal(
    size: tuple[int, int], settings: dict[str, Any]
) -> None:
    """Damage that Pillow reads over is read over, with its pixels."""
    random = np.random.default_rng(2)
    whole = encode(noise("RGB").resize(size), "JPEG", **settings)
    with quiet_pillow():
        for data in [whole, *(damaged(whole, random) for _ in range(40))]:
            outcomes: list[object] = []
            for read in (lambda data: np.array(decode(data)[0]), lambda data: decode_pixels(data)[0]):
                try:
                    outcomes.append((read(data).shape, read(data).tobytes()))
                except BadRow as bad:
                    outcomes.append((bad.kind, bad.detail))
            assert outcomes[0] == outcomes[1]
