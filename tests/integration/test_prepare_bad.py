"""Bad and odd input of the stage `prepare`: refused by file and row, or counted and used."""

import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pictures

from finetune_sdk.errors import DataInvalid
from tests.support.pictures import (
    Picture,
    add_member,
    encode,
    huge_png,
    write_folder,
    write_table,
    write_webdataset,
)
from tests.support.preparing import ODD, Write, measured, twelve_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    return twelve_pictures(tmp_path)


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
