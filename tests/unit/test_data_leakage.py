"""Leakage: which training pictures are found in another split, by which proof."""

from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from finetune_trainer.data.hashing import dhash
from finetune_trainer.data.leakage import find_leaks
from finetune_trainer.data.types import Image
from tests.support.pictures import make_pictures

BASE = 0x0F0F_3333_5555_00FF


def image(name: str, sha256: str = "", pixels: str = "", dhash: int = 0) -> Image:
    return Image(f"{name}.csv:2", f"{name}.jpg", ("x",), sha256 or name, pixels or name, dhash)


def kinds(train: list[Image], test: list[Image]) -> dict[int, str]:
    return {index: leak.kind for index, leak in find_leaks(train, test, "test").items()}


def test_the_strongest_proof_is_told() -> None:
    test = [image("a", dhash=BASE), image("b"), image("c")]
    train = [
        image("same", sha256="b", pixels="b"),
        image("again", pixels="c"),
        image("near", dhash=BASE ^ 0b10101),
        image("four", dhash=BASE ^ 0b1111),
        image("five", dhash=BASE ^ 0b11111),
    ]
    assert kinds(train, test) == {0: "bytes", 1: "pixels", 2: "near", 3: "near"}
    leak = find_leaks(train, test, "test")[2]
    assert (leak.train, leak.other, leak.split) == ("near.csv:2", "a.csv:2", "test")


def test_flat_pictures_leak_only_by_bytes_or_pixels() -> None:
    flat = [image("white", dhash=0), image("ramp", dhash=2**64 - 1), image("spot", dhash=0b111)]
    assert kinds(
        [image("other", dhash=0), image("dark", dhash=1), image("copy", pixels="ramp", dhash=2**64 - 1)], flat
    ) == {2: "pixels"}


def test_a_resized_or_recompressed_copy_is_near_and_another_picture_is_not(tmp_path: Path) -> None:
    pictures = [Pictures.open(picture.path).convert("RGB") for picture in make_pictures(tmp_path, 60)]
    test = [image(f"t{index}", dhash=dhash(np.array(picture))) for index, picture in enumerate(pictures)]
    copies = [picture.resize((140, 105), Pictures.Resampling.BICUBIC) for picture in pictures[:20]]
    train = [image(f"c{index}", dhash=dhash(np.array(copy))) for index, copy in enumerate(copies)]
    assert set(kinds(train, test)) == set(range(20))
    assert kinds(test[:30], test[30:]) == {}


def test_many_pictures_are_compared_with_all_of_another_split() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(1, 1 << 63, 20_000, np.uint64).tolist()
    train = [image(f"a{index}", dhash=value) for index, value in enumerate(hashes[:18_000])]
    test = [image(f"b{index}", dhash=value) for index, value in enumerate([*hashes[18_000:], hashes[7] ^ 0b11])]
    assert kinds(train, test) == {7: "near"}
