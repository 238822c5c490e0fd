"""The order of images and captions: what an epoch shows, and that nothing but the seed decides it."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.data.order import caption_of, epoch_order, random_words, stream_batch

seeds = st.integers(-(2**40), 2**40)


@given(seed=seeds, epoch=st.integers(0, 1000), n=st.integers(1, 200))
def test_an_epoch_shows_each_image_once(seed: int, epoch: int, n: int) -> None:
    assert sorted(epoch_order(seed, epoch, n).tolist()) == list(range(n))


@given(seed=seeds, n=st.integers(1, 40), batch_size=st.integers(1, 70), epochs=st.integers(1, 4))
def test_batches_of_any_size_show_every_image_once_an_epoch(seed: int, n: int, batch_size: int, epochs: int) -> None:
    steps = -(-n * epochs // batch_size)
    batches = [stream_batch(seed, step, batch_size, n) for step in range(steps)]
    assert all(len(images) == len(of_epoch) == batch_size for images, of_epoch in batches)
    images, of_epoch = (np.concatenate(part)[: n * epochs] for part in zip(*batches, strict=True))
    assert of_epoch.tolist() == [epoch for epoch in range(epochs) for _ in range(n)]
    for epoch in range(epochs):
        assert set(images[of_epoch == epoch].tolist()) == set(range(n))


@given(seed=seeds, image=st.integers(0, 2**40), n=st.integers(1, 30), first=st.integers(0, 50))
def test_any_n_epochs_in_a_row_show_all_n_captions(seed: int, image: int, n: int, first: int) -> None:
    assert {caption_of(seed, image, epoch, n) for epoch in range(first, first + n)} == set(range(n))


def test_images_begin_with_different_captions() -> None:
    first = np.bincount([caption_of(0, image, 0, 5) for image in range(5000)])
    assert first.min() > 900
    assert first.max() < 1100


def test_epochs_and_seeds_are_shuffled_differently_and_the_second_call_alike() -> None:
    order = epoch_order(3, 1, 100).copy()
    epoch_order.cache_clear()
    assert np.array_equal(order, epoch_order(3, 1, 100))
    assert not np.array_equal(order, epoch_order(3, 2, 100))
    assert not np.array_equal(order, epoch_order(4, 1, 100))


def test_each_place_of_an_epoch_is_as_likely_for_each_image() -> None:
    places = np.array([epoch_order(0, epoch, 8) for epoch in range(8000)])
    counts = np.array([[np.sum(places[:, place] == image) for image in range(8)] for place in range(8)])
    chi_square = ((counts - 1000) ** 2 / 1000).sum()  # 49 degrees of freedom: 85 is passed once in a thousand
    assert chi_square < 85


def test_words_depend_on_purpose_and_on_every_key() -> None:
    keys = [(b"a", 1, 2, 3, 4), (b"b", 1, 2, 3, 4), (b"a", 0, 2, 3, 4), (b"a", 1, 0, 3, 4)]
    keys += [(b"a", 1, 2, 0, 4), (b"a", 1, 2, 3, 0), (b"a", 2, 1, 3, 4)]
    assert len({random_words(*key) for key in keys}) == len(keys)


def test_the_order_of_stored_runs_never_changes() -> None:
    """A run stopped under an older version goes on in the same order: a change here needs a new digest version."""
    orders = np.stack([epoch_order(7, epoch, 1000) for epoch in range(3)])
    captions = [caption_of(7, image, 2, 5) for image in range(20)]
    assert hashlib.sha256(orders.astype("<i8").tobytes()).hexdigest()[:16] == "53045f745e002f33"
    assert captions == [1, 4, 0, 3, 0, 3, 2, 3, 0, 0, 3, 0, 4, 2, 3, 1, 4, 3, 4, 1]
