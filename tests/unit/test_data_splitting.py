"""Splits: sizes, what stays together, and what stays where it is when rows are added."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pictures

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.hashing import dhash, grey_cells, near_pairs, tells
from finetune_trainer.data.splitting import (
    carve_validation,
    choose,
    held_out,
    split_by_field,
    split_source,
    together,
)
from finetune_trainer.data.types import Image


@cache
def image(number: int, group: str | None = None, dhash: int | None = None, split: str | None = None) -> Image:
    bits = int(np.random.default_rng(number).integers(0, 1 << 63)) if dhash is None else dhash
    return Image(f"t.csv:{number}", f"{number}.jpg", ("x",), f"b{number}", f"p{number}", bits, group, split)


@pytest.mark.parametrize(
    ("images", "expected"),
    [(10, 2), (100, 20), (999, 199), (1000, 200), (2000, 200), (5000, 500), (30_000, 1000), (1_000_000, 1000)],
)
def test_a_tenth_is_held_out_within_bounds(images: int, expected: Any) -> None:
    assert held_out(images, 1000) == expected


@given(st.lists(st.integers(0, 12), min_size=12, max_size=120), st.integers(0, 3))
def test_groups_never_cross(groups: Any, seed: int) -> None:
    images = [image(index, group=f"g{group}") for index, group in enumerate(groups)]
    try:
        splits = split_source(images, seed)
    except DataInvalid:
        return
    sides = {name: {groups[index] for index in indices} for name, indices in splits.items()}
    assert not sides["train"] & sides["test"]
    assert not sides["train"] & sides["validation"]
    assert not sides["validation"] & sides["test"]
    assert sorted(index for indices in splits.values() for index in indices) == list(range(len(images)))


@given(st.sets(st.integers(0, 5000), min_size=60, max_size=200), st.integers(1, 40))
def test_rows_added_elsewhere_swap_nobody(numbers: Any, added: Any) -> None:
    before = [image(number) for number in sorted(numbers)]
    after = [*before, *(image(10_000 + extra) for extra in range(added))]
    one = {before[i].name for i in split_source(before, 0)["test"]}
    two = {after[i].name for i in split_source(after, 0)["test"]} & {item.name for item in before}
    assert one <= two or two <= one


@given(st.permutations(range(80)))
def test_the_order_of_rows_decides_nothing(order: Any) -> None:
    images = [image(number) for number in range(80)]
    shuffled = [images[place] for place in order]
    assert {images[i].name for i in split_source(images, 0)["test"]} == {
        shuffled[i].name for i in split_source(shuffled, 0)["test"]
    }


def test_the_seed_moves_validation_and_never_test() -> None:
    images = [image(number) for number in range(300)]
    one, two = split_source(images, 0), split_source(images, 1)
    assert one["test"] == two["test"]
    assert one["validation"] != two["validation"]


def test_near_duplicates_and_groups_stay_together_over_chains() -> None:
    base = 0x0F0F_3333_5555_00FF
    images = [
        image(0, dhash=base),
        image(1, dhash=base ^ 0b1111),
        image(2, dhash=base ^ 0xFF),
        image(3, dhash=~base % 2**64),
    ]
    images += [image(4, group="a"), image(5, group="a", dhash=base ^ 1 << 60)]
    labels = together(images)
    assert len({labels[index] for index in (0, 1, 2, 4, 5)}) == 1
    assert labels[3] != labels[0]


def test_flat_pictures_are_not_alike() -> None:
    flat = [image(number, dhash=bits) for number, bits in enumerate([0, 0, 1, 2**64 - 1, 0b1011])]
    assert len(set(together(flat).tolist())) == len(flat)


def test_a_group_larger_than_what_is_held_out_stays_in_train() -> None:
    images = [image(number, group="big" if number < 90 else None) for number in range(100)]
    chosen = choose(images, 5, "test")
    assert chosen.sum() == 5
    assert not chosen[:90].any()


def test_a_given_train_set_gives_up_its_validation() -> None:
    splits = carve_validation([image(number) for number in range(100)], 0)
    assert {name: len(indices) for name, indices in splits.items()} == {"train": 80, "validation": 20}


def test_the_datas_own_names_of_splits() -> None:
    names = ["train", "Train", "restval", "val", "dev", "test", "test"]
    splits = split_by_field([image(index, split=name) for index, name in enumerate(names)])
    assert splits == {"train": [0, 1, 2], "validation": [3, 4], "test": [5, 6]}


REFUSED = {
    "too few to split": (
        lambda: split_source([image(n) for n in range(9)], 0),
        "9 usable pictures leave 1 for train|test",
    ),
    "one group": (lambda: split_source([image(n, group="g") for n in range(50)], 0), "leave 0 for"),
    "too few for validation": (lambda: carve_validation([image(n) for n in range(5)], 0), "data.train: 5 usable"),
    "an unknown split": (lambda: split_by_field([image(1, split="fold3")]), "t.csv:1: its split is 'fold3'"),
    "no test": (lambda: split_by_field([image(n, split="train") for n in range(9)]), "gives test 0 pictures"),
}


@pytest.mark.parametrize(("split", "message"), REFUSED.values(), ids=REFUSED)
def test_too_few_are_refused_in_words(split: Any, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        split()


def test_banding_finds_what_comparing_all_pairs_finds() -> None:
    random = np.random.default_rng(0)
    left = random.integers(0, 1 << 63, 300, np.uint64) << np.uint64(1)
    flips = np.array([sum(1 << int(bit) for bit in random.choice(64, size, replace=False)) for size in range(9)] * 30)
    right = left[: len(flips)] ^ flips.astype(np.uint64)
    naive = np.argwhere(np.bitwise_count(left[:, None] ^ right[None, :]) <= 4)
    assert len(naive) >= 150
    assert near_pairs(left, right).tolist() == naive.tolist()


def test_a_difference_hash_reads_rows_from_the_left() -> None:
    ramp = np.tile(np.linspace(0, 255, 90).astype(np.uint8)[None, :, None], (80, 1, 3))
    assert dhash(ramp) == 2**64 - 1
    assert dhash(ramp[:, ::-1]) == 0
    assert not tells(np.array([0, 2**64 - 1, 0x1FF], np.uint64)).any()


@pytest.mark.parametrize("size", [(640, 480), (1, 1), (9, 8), (3, 500), (500, 3), (61, 47), (40, 5000)])
def test_the_cells_of_a_difference_hash_are_pillows_box_averages(size: tuple[int, int]) -> None:
    coarse = np.random.default_rng(3).integers(0, 256, (9, 12, 3), np.uint8)
    picture = Pictures.fromarray(coarse).resize(size, Pictures.Resampling.BICUBIC)
    theirs = np.asarray(picture.convert("L").resize((9, 8), Pictures.Resampling.BOX)).astype(int)
    assert np.abs(grey_cells(np.array(picture), 8, 9) - theirs).max() <= 1
