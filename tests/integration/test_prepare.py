"""The stage `prepare` through its door: one set in every format, splits, leakage and the cache."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures

from finetune_sdk.api.data import Data
from finetune_sdk.errors import DataInvalid, Stopped
from finetune_sdk.storage import open_store
from finetune_trainer.data.prepare import Dataset, Limits, prepare_test
from tests.support.pictures import (
    Picture,
    encode,
    make_pictures,
    write_folder,
    write_table,
    write_webdataset,
)
from tests.support.preparing import PREPROCESS, Told, Write, measured, prepared, source, twelve_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    return twelve_pictures(tmp_path)


FORMATS: dict[str, Write] = {
    "csv": lambda folder, pictures: write_table(folder / "a.csv", pictures),
    "csv, BOM, CRLF": lambda folder, pictures: write_table(folder / "a.csv", pictures, newline="\r\n", bom=True),
    "csv in another order": lambda folder, pictures: write_table(folder / "a.csv", pictures[::-1]),
    "tsv": lambda folder, pictures: write_table(folder / "a.tsv", pictures, delimiter="\t"),
    "folder": lambda folder, pictures: write_folder(folder / "beside", pictures),
    "folder, CRLF": lambda folder, pictures: write_folder(folder / "beside", pictures, newline="\r\n"),
    "webdataset": lambda folder, pictures: write_webdataset(folder / "shards", pictures, nshards=False),
    "webdataset, json": lambda folder, pictures: write_webdataset(folder / "shards", pictures, as_json=True),
    "CLIP Benchmark": lambda folder, pictures: write_webdataset(folder / "wds" / "test", pictures).parent,
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_one_set_in_every_format_has_one_digest_and_one_order(
    tmp_path: Path, pictures: list[Picture], write: Any
) -> None:
    split, report = measured(write(tmp_path, pictures))
    reference, expected = measured(write_folder(tmp_path / "reference", pictures))
    assert report.splits == expected.splits
    assert sorted(split.captions) == sorted(reference.captions)
    assert split.captions == reference.captions or split.images[0].where.startswith("a.csv:2")
    for index, image in enumerate(split.images):
        twin = [other.pixels_sha256 for other in reference.images].index(image.pixels_sha256)
        assert np.array_equal(split.pixels.evaluation(index), reference.pixels.evaluation(twin))


def test_another_caption_or_pixel_is_another_digest(tmp_path: Path, pictures: list[Picture]) -> None:
    digests = {measured(write_table(tmp_path / "a.csv", pictures))[1].splits["test"].digest}
    changed = [*pictures[:-1], Picture(pictures[-1].path, ("something else",))]
    digests.add(measured(write_table(tmp_path / "b.csv", changed))[1].splits["test"].digest)
    pictures[3].path.write_bytes(encode(Pictures.new("RGB", (50, 50), (1, 2, 3))))
    digests.add(measured(write_table(tmp_path / "a.csv", pictures))[1].splits["test"].digest)
    assert len(digests) == 3


def test_an_empty_choice_says_which_values_there_are(tmp_path: Path, pictures: list[Picture]) -> None:
    path = write_table(tmp_path / "a.csv", pictures, split=["train"] * 9 + ["test"] * 3)
    with pytest.raises(DataInvalid, match=r"data.test: no row has split = tset \(met: train 19, test 6\)"):
        measured(path, where={"split": "tset"})


def test_a_source_is_split_and_reported(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", make_pictures(tmp_path / "pictures", 40))
    dataset = prepared(Data(source=source(path)), tmp_path)
    sizes = {name: summary.images for name, summary in dataset.report.splits.items()}
    assert sizes == {"train": 24, "validation": 8, "test": 8}
    whole = dataset.train.pixels.whole(0)
    assert whole.shape[2] == 3
    names = [image.name for split in (dataset.train, dataset.validation, dataset.test) for image in split.images]
    assert len(set(names)) == 40


def test_given_splits_by_field_of_one_table(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 40)
    path = write_table(tmp_path / "a.csv", pictures, split=["train"] * 30 + ["test"] * 10)
    given = Data(train=source(path, where={"split": "train"}), test=source(path, where={"split": "test"}))
    followed = Data(source=source(path, columns={"split": "split"}))
    one, two = prepared(given, tmp_path), prepared(followed, tmp_path)
    assert [image.name for image in one.test.images] == [f"pictures/{picture.name}" for picture in pictures[30:]]
    assert one.report.splits == two.report.splits
    assert len(one.validation.images) == 6


def test_train_and_validation_have_one_order_in_any_format_and_test_keeps_the_datas(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 40)
    data = [
        Data(train=source(train), test=source(test))
        for train, test in [
            (write_table(tmp_path / "a.csv", pictures[9::-1]), write_table(tmp_path / "b.csv", pictures[:9:-1])),
            (write_folder(tmp_path / "train", pictures[:10]), write_folder(tmp_path / "test", pictures[10:])),
        ]
    ]
    one, two = (prepared(each, tmp_path) for each in data)
    for name in ("train", "validation"):
        first, second = getattr(one, name), getattr(two, name)
        assert [image.pixels_sha256 for image in first.images] == [image.pixels_sha256 for image in second.images]
        assert np.array_equal(first.pixels.whole(0), second.pixels.whole(0))
    assert [image.sha256 for image in one.test.images] == [image.sha256 for image in two.test.images][::-1]


def leaky(tmp_path: Path, leakage: str) -> tuple[Dataset, Told]:
    pictures = make_pictures(tmp_path / "pictures", 40)
    for number, test_picture in enumerate(pictures[30:33]):
        with Pictures.open(test_picture.path) as image:
            if number == 0:
                shutil.copyfile(test_picture.path, pictures[0].path)
            elif number == 1:
                image.save(pictures[1].path, "PNG")
            else:
                image.resize((130, 100)).save(pictures[2].path, "JPEG", quality=80)
    train, test = write_folder(tmp_path / "train", pictures[:30]), write_folder(tmp_path / "test", pictures[30:])
    told = Told()
    data = Data.model_validate({"train": source(train), "test": source(test), "leakage": leakage})
    return prepared(data, tmp_path, told), told


def test_leaks_are_dropped_from_train_and_never_from_test(tmp_path: Path) -> None:
    dataset, told = leaky(tmp_path, "drop")
    assert [(leak.train, leak.other, leak.kind) for leak in dataset.report.leaks] == [
        ("picture-00000.jpg", "picture-00030.jpg", "bytes"),
        ("picture-00001.jpg", "picture-00031.jpg", "pixels"),
        ("picture-00002.jpg", "picture-00032.jpg", "near"),
    ]
    assert len(dataset.train.images) + len(dataset.validation.images) == 27
    assert len(dataset.test.images) == 10
    assert told.notes == ["3 pictures are also in test or validation, or nearly alike: dropped from train"]


def test_leaks_are_only_reported_where_the_user_says_so(tmp_path: Path) -> None:
    dataset, _ = leaky(tmp_path, "report")
    assert dataset.report.leaks_total == 3
    assert len(dataset.train.images) + len(dataset.validation.images) == 30


def test_train_and_test_of_one_set_leave_nothing(tmp_path: Path, pictures: list[Picture]) -> None:
    path = write_folder(tmp_path / "set", pictures)
    with pytest.raises(DataInvalid, match=r"data\.train: 12 of its 12 pictures are also in test"):
        prepared(Data(train=source(path), test=source(path)), tmp_path)


def test_a_second_run_reads_no_picture(tmp_path: Path, pictures: list[Picture]) -> None:
    path = write_table(tmp_path / "a.csv", pictures)
    first, report = measured(path)
    told = Told()
    second, again = measured(path, told)
    assert (told.read, told.started) == (0, [(12, 12)])
    assert (second.images, again) == (first.images, report)
    assert np.array_equal(second.pixels.evaluation(5), first.pixels.evaluation(5))


@pytest.mark.parametrize("stop_after", [1, 7, 12])
def test_a_run_that_was_stopped_leaves_nothing_half_done(
    tmp_path: Path, pictures: list[Picture], stop_after: int
) -> None:
    path = write_folder(tmp_path / "set", pictures)
    with pytest.raises(Stopped):
        measured(path, Told(stop_after))
    told = Told()
    split, _ = measured(path, told)
    assert told.read == len(split.images) == 12


@pytest.mark.parametrize("lost", ["index.json", "pixels.json", "pixels-*.bin"])
def test_a_cache_that_lost_a_part_is_made_again(tmp_path: Path, pictures: list[Picture], lost: str) -> None:
    path = write_folder(tmp_path / "set", pictures)
    first, _ = measured(path)
    (victim,) = (tmp_path / "cache").rglob(lost)
    victim.write_bytes(victim.read_bytes()[:-10])
    told = Told()
    second, _ = measured(path, told)
    assert told.read == 12
    assert second.images == first.images


def test_an_index_of_other_pixels_is_not_believed(tmp_path: Path, pictures: list[Picture]) -> None:
    one, two = write_folder(tmp_path / "one", pictures[:5]), write_folder(tmp_path / "two", pictures[5:10])
    measured(one)
    (first,) = (tmp_path / "cache").rglob("index.json")
    measured(two)
    (second,) = set((tmp_path / "cache").rglob("index.json")) - {first}
    second.write_bytes(first.read_bytes())
    split, _ = measured(two)
    assert [image.captions for image in split.images] == [picture.captions for picture in pictures[5:10]]


def test_changed_data_is_read_again(tmp_path: Path, pictures: list[Picture]) -> None:
    path = write_folder(tmp_path / "set", pictures)
    measured(path)
    (path / "picture-00004.txt").write_text("something new")
    split, _ = measured(path)
    assert split.images[4].captions == ("something new",)


def test_captions_that_the_tokenizer_cuts_are_counted(tmp_path: Path, pictures: list[Picture]) -> None:
    import open_clip

    limits = Limits(open_clip.get_tokenizer("ViT-B-32"), 77)
    path = write_folder(tmp_path / "set", [Picture(pictures[0].path, ("word " * 90,)), *pictures[1:]])
    _, report = prepare_test(
        source(path), PREPROCESS, cache_root=tmp_path, stores=open_store, progress=Told(), limits=limits
    )
    assert report.oddities == {"truncated-caption": 1}
