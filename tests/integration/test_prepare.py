"""The stage `prepare` through its door: one set in every format, bad input, splits, leakage and the cache."""

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures

from finetune_sdk.api.data import Data, DataSource
from finetune_sdk.errors import DataInvalid, Stopped
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.prepare import Dataset, Limits, prepare_data, prepare_test
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.records import DataReport
from tests.support.pictures import (
    Picture,
    add_member,
    encode,
    huge_png,
    make_pictures,
    write_folder,
    write_table,
    write_webdataset,
)

PREPROCESS = Preprocess(
    size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", resize_mode="shortest"
)
ODD = ('a dog, cat.jpg, and "quotes"', "one\u2028line of it", " spaces around ")


class Told:
    """Remembers what a stage told."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.started: list[tuple[int | None, int]] = []
        self.read = 0
        self.notes: list[str] = []
        self._stop_after = stop_after

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        assert (stage, unit) == ("prepare", "images")
        self.started.append((total, done))

    def advance(self, amount: int = 1, **figures: float) -> None:
        assert not figures
        self.read += amount
        if self._stop_after is not None and self.read >= self._stop_after:
            raise Stopped("stopped")

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    made = make_pictures(tmp_path / "pictures", 12)
    return [Picture(made[0].path, ODD), *made[1:]]


def source(path: Path, **values: object) -> DataSource:
    return DataSource.model_validate({"uri": path_to_uri(path), **values})


def measured(path: Path, progress: Told | None = None, bad: float = 0.01, **values: object) -> tuple[Split, DataReport]:
    return prepare_test(
        source(path, **values),
        PREPROCESS,
        cache_root=path.parent / "cache",
        stores=open_store,
        progress=progress or Told(),
        max_bad_fraction=bad,
    )


def prepared(data: Data, folder: Path, progress: Told | None = None, seed: int = 0) -> Dataset:
    told = progress or Told()
    return prepare_data(
        data, PREPROCESS, seed=seed, cache_root=folder / "cache", stores=open_store, progress=told, limits=None
    )


Write = Callable[[Path, list[Picture]], Path]
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


# Bad input: how the set is spoilt, what the message holds. Each ends with exit code 65.


def spoil(name: str, data: bytes) -> Write:
    """One picture's bytes are replaced."""

    def write(folder: Path, pictures: list[Picture]) -> Path:
        (folder / "pictures" / name).write_bytes(data)
        return write_table(folder / "a.csv", pictures)

    return write


def table(text: str | bytes) -> Write:
    """The table is this."""

    def write(folder: Path, pictures: list[Picture]) -> Path:
        (folder / "a.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        return folder / "a.csv"

    return write


def captions(*said: str) -> Write:
    """One picture's captions are these."""
    return lambda folder, pictures: write_folder(folder / "set", [Picture(pictures[0].path, said), *pictures[1:]])


def member(name: str, data: bytes = b"x") -> Write:
    """Shards with one more member."""

    def write(folder: Path, pictures: list[Picture]) -> Path:
        write_webdataset(folder / "shards", pictures)
        with tarfile.open(folder / "shards" / "0.tar", "a") as tar:
            add_member(tar, name, data)
        return folder / "shards"

    return write


def missing_caption_file(folder: Path, pictures: list[Picture]) -> Path:
    write_folder(folder / "set", pictures)
    (folder / "set" / "picture-00003.txt").unlink()
    return folder / "set"


FIRST = "pictures/picture-00000.jpg"
BAD: dict[str, tuple[Write, str]] = {
    "no such table": (lambda folder, _: folder / "no.csv", r"data\.test\.uri: nothing is stored at file:.*no\.csv"),
    "an empty folder": (lambda folder, _: folder / "empty", "data.test.uri: nothing is stored at"),
    "a missing column": (table("image,words\na,b\n"), "known to hold the caption; its columns are image, words: name"),
    "a header alone": (table("image,caption\n"), "holds no rows"),
    "an empty table": (table(""), "a.csv is empty: its first row must name the columns"),
    "no text": (table(b"PAR1\0\0"), "a.csv is not a text file"),
    "UTF-16": (table("image,caption\n".encode("utf-16")), "it is UTF-16: save it as UTF-8"),
    "Latin-1": (table(f"image,caption\n{FIRST},caf\xe9\n".encode("latin-1")), "a.csv:2: wrong-encoding: .*CP1252"),
    "an open quote": (table('image,caption\nx,"' + "y" * (1 << 21)), "a.csv:2 cannot be read .*never closed"),
    "an unquoted comma": (table(f"image,caption\n{FIRST},red, blue\n"), "a.csv:2: bad-row: it has 3 fields"),
    "a missing picture": (table("image,caption\nno.jpg,x\n"), "a.csv:2: missing-image: file:.*no.jpg is not there"),
    "a web address": (table("image,caption\nhttp://e.org/a.jpg,x\n"), "a.csv:2: image-url: .*img2dataset"),
    "an empty cell": (table("image,caption\n,x\n"), "a.csv:2: missing-image: its picture's cell is empty"),
    "a picture without bytes": (spoil("picture-00003.jpg", b""), "a.csv:9: empty-image: the file has no bytes"),
    "a broken picture": (spoil("picture-00003.jpg", b"\xff\xd8\xff\xe0 no"), "a.csv:9: (broken|not-an)-image"),
    "a web page": (spoil("picture-00003.jpg", b"<html>404</html>"), "a.csv:9: not-an-image: 16 bytes"),
    "a huge picture": (spoil("picture-00003.jpg", huge_png(60_000, 60_000)), "a.csv:9: huge-image: more than"),
    "an extreme shape": (
        spoil("picture-00003.jpg", encode(Pictures.new("RGB", (40_000, 1)))),
        "a.csv:9: .*40000 x 1 pixels",
    ),
    "an empty caption": (captions("", " "), "picture-00000.jpg: empty-caption: its captions are empty"),
    "a test picture without captions": (missing_caption_file, r"picture-00003.jpg: no-caption: no picture-00003.txt"),
    "a member that leaves its folder": (member("../up.jpg"), r"0.tar:../up.jpg: unsafe-member: its name leaves"),
    "an absolute member": (member("/etc/up.jpg"), r"0.tar:/etc/up.jpg: unsafe-member"),
    "a sample without picture": (member("alone.txt"), "0.tar:alone: missing-image: the sample holds txt"),
    "a sample without caption": (member("alone.jpg"), "0.tar:alone.jpg: no-caption: it has no caption"),
    "one picture in all": (
        lambda folder, p: write_table(folder / "a.csv", p[:1]),
        "1 usable picture is too few",
    ),
    "a format that cannot be told": (lambda _, p: p[0].path, r"found a file that ends in \.jpg"),
}


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_by_file_and_row(
    tmp_path: Path, pictures: list[Picture], write: Any, message: str
) -> None:
    with pytest.raises(DataInvalid, match=message) as caught:
        measured(write(tmp_path, pictures))
    assert caught.value.exit_code == 65


def gif(folder: Path, pictures: list[Picture]) -> Path:
    frames = [Pictures.new("RGB", (40, 40), (number * 100, 0, 0)).convert("P") for number in range(3)]
    path = folder / "pictures" / "moves.gif"
    path.write_bytes(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    return write_table(folder / "a.csv", [*pictures, Picture(path, ("it moves",))])


def twice(folder: Path, pictures: list[Picture]) -> Path:
    shutil.copyfile(pictures[0].path, folder / "pictures" / "copy.jpg")
    again = Picture(folder / "pictures" / "copy.jpg", (*ODD, "another caption"))
    return write_table(folder / "a.csv", [*pictures, again, pictures[1]])


ODDITIES: dict[str, tuple[Write, dict[str, int]]] = {
    "CMYK": (spoil("picture-00003.jpg", encode(Pictures.new("CMYK", (40, 30)), "JPEG")), {"cmyk": 1}),
    "alpha": (spoil("picture-00003.jpg", encode(Pictures.new("RGBA", (40, 30)))), {"alpha": 1}),
    "animated": (gif, {"animated": 1, "palette": 1}),
    "one empty caption of two": (captions("", "a cat"), {"empty-caption": 1}),
    "rows and pictures twice": (twice, {"duplicate-caption": 2, "duplicate-image": 1}),
}


@pytest.mark.parametrize(("write", "oddities"), ODDITIES.values(), ids=ODDITIES)
def test_oddities_are_counted_and_used(
    tmp_path: Path, pictures: list[Picture], write: Any, oddities: dict[str, int]
) -> None:
    _, report = measured(write(tmp_path, pictures))
    assert (report.oddities, report.rows_bad) == (oddities, 0)


def test_pictures_with_equal_pixels_are_one_with_all_captions(tmp_path: Path, pictures: list[Picture]) -> None:
    split, _ = measured(twice(tmp_path, pictures))
    assert len(split.images) == len(pictures)
    assert len(split.images[0].captions) == len(ODD) + 1


def test_bad_rows_below_the_limit_are_listed_and_left_out(tmp_path: Path, pictures: list[Picture]) -> None:
    path = spoil("picture-00003.jpg", b"")(tmp_path, pictures)
    split, report = measured(path, bad=0.1)
    assert len(split.images) == len(split.pixels) == 11
    assert (report.rows_read, report.rows_bad) == (12, 1)
    assert [(problem.where, problem.kind) for problem in report.problems] == [("a.csv:9", "empty-image")]


def test_the_refusal_lists_five_rows_counts_by_kind_and_says_what_to_do(
    tmp_path: Path, pictures: list[Picture]
) -> None:
    rows = "".join(f"no-{number}.jpg,x\n" for number in range(7)) + f"{FIRST},\n"
    with pytest.raises(DataInvalid) as caught:
        measured(table(f"image,caption\n{rows}")(tmp_path, pictures))
    lines = str(caught.value).splitlines()
    assert lines[0] == "data.test: 8 of 8 rows cannot be used (100.00%), more than data.maxBadFraction allows (1.00%):"
    assert [line.split(":")[1] for line in lines[1:6]] == ["2", "3", "4", "5", "6"]
    assert lines[6:8] == ["  and 3 more", "By kind: missing-image 7, empty-caption 1"]
    assert "`images` is the folder" in lines[8]


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
