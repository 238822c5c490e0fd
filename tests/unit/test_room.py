"""Training pictures as raw pixels or JPEG: what decides, what is kept, and that it stays so for a run."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune_sdk.api.data import Data
from finetune_sdk.errors import StorageUnavailable, UsageError
from finetune_sdk.storage import open_store
from finetune_trainer.data.jpeg import DamagedJpeg, decode_jpeg, encode_jpeg
from finetune_trainer.data.pixels import PixelWriter, shrink_whole
from finetune_trainer.data.prepare import Dataset, prepare_data
from finetune_trainer.data.room import LOOKED_AT, Parts, Room, RoomyWriter, cache_limit, free_bytes
from finetune_trainer.data.stored import INDEX, PixelsUnusable, StoredPixels, open_pixels
from finetune_trainer.data.types import Form
from finetune_trainer.pipeline.data import form_notes
from finetune_trainer.progress import Silent
from tests.support.pictures import make_pictures, write_folder
from tests.support.preparing import PREPROCESS, Told, source
from tests.support.splits import add

BOTH = Parts(evaluation=True, whole=True)
EVALUATION_BYTES, WHOLE_BYTES = 32 * 32 * 3, 37 * 49 * 3
"""Of one `smooth` picture at PREPROCESS' input of 32 x 32."""


def smooth(seed: int) -> Image.Image:
    """A picture such as a camera makes, for JPEG: 160 x 120, no noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


def folders(folder: Path) -> dict[Form, Path]:
    return {"raw": folder / "one", "jpeg": folder / "other"}


def with_free(amount: int, limit: int | None = None) -> Room:
    return Room(limit=limit, free=lambda _: amount)


@dataclass(frozen=True)
class Kept:
    pixels: StoredPixels
    notes: list[str]


def keep(folder: Path, room: Room, count: int = 4, expected: int | None = None, parts: Parts = BOTH) -> Kept:
    told = Told()
    with RoomyWriter(folders(folder), PREPROCESS, parts, room, expected, told) as writer:
        for seed in range(count):
            rgb = smooth(seed)
            assert writer.append(writer.make(np.array(rgb), rgb)) == seed
        return Kept(writer.close(), told.notes)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_jpeg_is_near_the_picture_and_smaller() -> None:
    whole = shrink_whole(np.array(smooth(1)), PREPROCESS)
    data = encode_jpeg(whole)
    apart = np.abs(decode_jpeg(data, 37, 49).astype(int) - whole)
    assert apart.mean() < 1.5
    assert apart.max() <= 12
    assert len(data) < whole.nbytes / 2
    assert encode_jpeg(whole) == data


def test_a_jpeg_keeps_colours_at_full_resolution() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (255, 0, 0), (0, 0, 255)
    assert np.abs(decode_jpeg(encode_jpeg(stripes), 32, 32).astype(int) - stripes).mean() < 8


JPEG = encode_jpeg(np.asarray(smooth(0)))


@pytest.mark.parametrize("data", [b"", JPEG[:400], b"x" * 500, encode_jpeg(np.zeros((120, 80, 3), np.uint8))])
def test_what_is_no_picture_or_another_one_is_damaged(data: bytes) -> None:
    assert decode_jpeg(JPEG, 120, 160).shape == (120, 160, 3)
    with pytest.raises(DamagedJpeg):
        decode_jpeg(data, 120, 160)


def test_pictures_that_fit_stay_raw_and_nobody_is_told(tmp_path: Path) -> None:
    kept = keep(tmp_path, with_free(2 * 4 * (EVALUATION_BYTES + WHOLE_BYTES)))
    assert (kept.pixels.form, kept.notes) == ("raw", [])
    assert np.array_equal(kept.pixels.whole(3), shrink_whole(np.array(smooth(3)), PREPROCESS))


def test_one_byte_less_makes_them_jpeg_with_raw_evaluation_pixels(tmp_path: Path) -> None:
    fitting = 2 * 4 * (EVALUATION_BYTES + WHOLE_BYTES)
    raw, jpeg = keep(tmp_path / "a", with_free(fitting)).pixels, keep(tmp_path / "b", with_free(fitting - 1))
    assert jpeg.pixels.form == "jpeg"
    assert "kept as JPEG" in jpeg.notes[0]
    assert str(tmp_path / "b") in jpeg.notes[0]
    for index in range(4):
        assert np.array_equal(jpeg.pixels.evaluation(index), raw.evaluation(index))
        assert np.abs(jpeg.pixels.whole(index).astype(int) - raw.whole(index)).mean() < 1.5
    assert jpeg.pixels.pixel_bytes == raw.pixel_bytes == 4 * (EVALUATION_BYTES + WHOLE_BYTES)
    assert not list((tmp_path / "b" / "one").iterdir()), "the raw pixels are gone"


def test_the_jpeg_cache_has_the_same_bytes_whenever_it_was_turned_to(tmp_path: Path) -> None:
    """So that an attempt that is told to use JPEG trains as the one did that found it necessary."""
    rooms = {"at once": Room(form="jpeg"), "early": with_free(1), "late": with_free(2 * 3 * WHOLE_BYTES)}
    kept = {name: keep(tmp_path / name, room) for name, room in rooms.items()}
    assert len({each.pixels.digest for each in kept.values()}) == 1
    first = files_of(tmp_path / "at once" / "other")
    assert all(files_of(tmp_path / name / "other") == first for name in rooms)
    assert kept["at once"].notes == []


def test_the_number_of_pictures_decides_after_a_few_of_them(tmp_path: Path) -> None:
    one = EVALUATION_BYTES + WHOLE_BYTES
    assert keep(tmp_path / "a", with_free(2 * one * 1000), LOOKED_AT, expected=1000).pixels.form == "raw"
    turned = keep(tmp_path / "b", with_free(2 * one * 1000 - 2), LOOKED_AT, expected=1000)
    assert turned.pixels.form == "jpeg"
    assert keep(tmp_path / "c", with_free(2 * one * 1000 - 2), LOOKED_AT - 1, expected=1000).pixels.form == "raw"


def test_a_limit_counts_where_it_is_less_than_the_disk(tmp_path: Path) -> None:
    one = EVALUATION_BYTES + WHOLE_BYTES
    assert keep(tmp_path / "a", with_free(10**9, limit=8 * one)).pixels.form == "raw"
    assert keep(tmp_path / "b", with_free(10**9, limit=8 * one - 1)).pixels.form == "jpeg"
    assert keep(tmp_path / "c", with_free(8 * one - 1, limit=10**9)).pixels.form == "jpeg"


def test_sets_that_are_only_evaluated_are_raw_whatever_the_disk(tmp_path: Path) -> None:
    kept = keep(tmp_path, with_free(0), parts=Parts(evaluation=True, whole=False))
    assert (kept.pixels.form, kept.notes) == ("raw", [])


def test_an_earlier_attempts_form_stays_whatever_the_disk(tmp_path: Path) -> None:
    assert keep(tmp_path / "a", Room(form="raw", free=lambda _: 0)).pixels.form == "raw"
    assert keep(tmp_path / "b", Room(form="jpeg", free=lambda _: 10**12)).pixels.form == "jpeg"


def test_a_jpeg_cache_reads_subsets_and_left_out_parts(tmp_path: Path) -> None:
    with PixelWriter(tmp_path, PREPROCESS, whole=True, form="jpeg") as writer:
        add(writer, smooth(1), evaluation=False)
        add(writer, smooth(2))
        pixels = writer.close()
    chosen = pixels.subset([1, 0])
    assert np.array_equal(chosen.whole(0), pixels.whole(1))
    assert np.array_equal(chosen.whole(1), pixels.whole(0))
    assert chosen.pixel_bytes == EVALUATION_BYTES + 2 * WHOLE_BYTES
    for read, index in ((pixels.whole, 2), (chosen.evaluation, 1)):
        with pytest.raises(IndexError):
            read(index)
    with pytest.raises(ValueError, match="read-only"):
        pixels.whole(1)[0] = 0


def test_a_damaged_jpeg_names_its_file_and_the_way_out(tmp_path: Path) -> None:
    pixels = keep(tmp_path, Room(form="jpeg")).pixels
    (path,) = (tmp_path / "other").glob("*.bin")
    with path.open("r+b") as file:
        file.seek(EVALUATION_BYTES)
        file.write(b"\0" * 64)
    with pytest.raises(StorageUnavailable, match=f"{path} is damaged.*delete {path.parent}"):
        pixels.whole(0)
    assert pixels.whole(1).shape == (37, 49, 3)


def test_an_index_that_names_another_form_is_not_opened(tmp_path: Path) -> None:
    keep(tmp_path, Room(form="jpeg"))
    index = tmp_path / "other" / INDEX
    index.write_text(json.dumps(json.loads(index.read_text()) | {"form": "raw"}))
    with pytest.raises(PixelsUnusable, match="damaged"):
        open_pixels(tmp_path / "other", PREPROCESS)


def test_a_disk_that_fills_while_pictures_turn_to_jpeg_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> bytes:
        raise OSError(28, os.strerror(28))

    writer = PixelWriter(tmp_path / "one", PREPROCESS, whole=True)
    add(writer, smooth(0))
    monkeypatch.setattr("finetune_trainer.data.pixels.encode_jpeg", full)
    with pytest.raises(StorageUnavailable, match=f"{tmp_path / 'other'} is full: free space there, or set FINETUNE"):
        writer.as_jpeg(tmp_path / "other")
    assert not [path for folder in tmp_path.iterdir() for path in folder.iterdir()]


def test_the_disks_room_is_what_the_system_says(tmp_path: Path) -> None:
    assert 0 < Room().free(tmp_path) == free_bytes(tmp_path)


@pytest.mark.parametrize(("text", "limit"), [(None, None), ("", None), (" 20000000 ", 20_000_000), ("0", 0)])
def test_the_limit_of_the_environment(text: str | None, limit: int | None) -> None:
    assert cache_limit({} if text is None else {"FINETUNE_CACHE_BYTES": text}) == limit


@pytest.mark.parametrize("text", ["20G", "-1", "1e9", "2.5"])
def test_a_limit_that_is_no_number_says_what_would_be_one(text: str) -> None:
    with pytest.raises(UsageError, match=f"FINETUNE_CACHE_BYTES is '{text}': give a number of bytes, such as"):
        cache_limit({"FINETUNE_CACHE_BYTES": text})


@pytest.fixture
def sets(tmp_path: Path) -> Data:
    pictures = make_pictures(tmp_path / "pictures", 30)
    train, test = write_folder(tmp_path / "train", pictures[:20]), write_folder(tmp_path / "test", pictures[20:])
    return Data(train=source(train), test=source(test))


def prepare(data: Data, folder: Path, room: Room) -> Dataset:
    return prepare_data(
        data, PREPROCESS, seed=0, cache_root=folder, stores=open_store, progress=Silent(), limits=None, room=room
    )


def wholes(dataset: Dataset) -> list[bytes]:
    pixels = dataset.train.pixels
    return [pixels.whole(index).tobytes() for index in range(len(pixels))]


def test_a_run_goes_on_with_its_form_and_the_same_pictures_though_cache_and_room_changed(
    sets: Data, tmp_path: Path
) -> None:
    first = prepare(sets, tmp_path / "a", with_free(0))
    assert first.report.pictures == "jpeg"
    again = prepare(sets, tmp_path / "b", Room(form=first.report.pictures, free=lambda _: 10**12))
    assert (again.report, wholes(again)) == (first.report, wholes(first))
    roomy = prepare(sets, tmp_path / "b", with_free(10**12))
    assert wholes(roomy) == wholes(first), "a cache that is there is used"
    raw = prepare(sets, tmp_path / "b", Room(form="raw"))
    assert (raw.report.pictures, raw.report.splits) == ("raw", first.report.splits)
    assert wholes(raw) != wholes(first)
    assert raw.report.cache_bytes > first.report.cache_bytes
    assert wholes(prepare(sets, tmp_path / "b", with_free(0))) == wholes(raw), "and the better one of two"
    assert np.array_equal(raw.test.pixels.evaluation(3), first.test.pixels.evaluation(3))


def test_the_report_tells_sizes_of_jpeg_alone(sets: Data, tmp_path: Path) -> None:
    raw, jpeg = (prepare(sets, tmp_path / str(free), with_free(free)).report for free in (10**12, 0))
    assert form_notes(raw) == []
    (note,) = form_notes(jpeg)
    assert "as JPEG (quality 95)" in note
    assert jpeg.pixel_bytes == raw.pixel_bytes
    assert raw.pixel_bytes <= raw.cache_bytes


def test_a_training_set_beside_a_validation_set_keeps_no_evaluation_pixels(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 12)
    parts = {"train": pictures[:4], "validation": pictures[4:8], "test": pictures[8:]}
    given = {name: source(write_folder(tmp_path / name, part)) for name, part in parts.items()}
    dataset = prepare(Data.model_validate(given), tmp_path / "cache", Room())
    assert dataset.train.pixels.whole(0).shape == (37, 49, 3)
    assert dataset.validation.pixels.evaluation(0).shape == (32, 32, 3)
    with pytest.raises(IndexError):
        dataset.train.pixels.evaluation(0)
