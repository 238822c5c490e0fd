"""Decoding: the pixels that open_clip would see, and every kind of picture that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune_trainer.data.decode import MOST_PIXELS, decode, quiet_pillow
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
        with Image.open(tmp_path / "picture") as image:
            expected = image.convert("RGB")
    assert found == oddities
    assert rgb.size == SIZE
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


@pytest.mark.parametrize(("data", "kind", "detail"), BAD.values(), ids=BAD)
def test_a_picture_that_cannot_be_used_is_a_bad_row(data: bytes, kind: str, detail: str) -> None:
    with quiet_pillow(), pytest.raises(BadRow) as caught:
        decode(data)
    assert caught.value.kind == kind
    assert detail in caught.value.detail


def test_random_damage_never_escapes_as_another_error() -> None:
    random = np.random.default_rng(1)
    originals = [data for data, _ in ODD.values()]
    kinds = set()
    for attempt in range(400):
        data = bytearray(originals[attempt % len(originals)])
        for place in random.integers(0, len(data), 8):
            data[place] = random.integers(0, 256)
        with quiet_pillow():
            try:
                assert decode(bytes(data))[0].mode == "RGB"
            except BadRow as bad:
                kinds.add(bad.kind)
    assert kinds <= {"broken-image", "not-an-image", "huge-image"}
