"""Readers: what rows they give of one set in every format, and what they refuse."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune_sdk.api.data import Columns, DataSource
from finetune_sdk.errors import DataInvalid, ObjectNotFound
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data import docarray_wire
from finetune_trainer.data.formats import open_rows
from finetune_trainer.data.readers import Rows
from finetune_trainer.data.types import BadRow, Row
from tests.support.all_formats import ALL_FORMATS
from tests.support.pictures import (
    Picture,
    add_member,
    make_pictures,
    write_folder,
    write_table,
    write_webdataset,
)

ODD = ('a dog, cat.jpg, and "quotes"', "one\u2028line of it", "ends in a space ")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    made = make_pictures(tmp_path / "pictures", 12)
    return [Picture(made[0].path, ODD), *made[1:]]


def source(path: Path | str, **values: object) -> DataSource:
    uri = path if isinstance(path, str) else path_to_uri(path)
    return DataSource.model_validate({"uri": uri, **values})


def opened(spec: DataSource) -> Rows:
    return open_rows("data.train", spec, open_store)


def rows(spec: DataSource) -> list[Row]:
    return list(opened(spec).read())


def problems(spec: DataSource) -> list[tuple[str, str]]:
    return [(row.where, kind) for row in rows(spec) for kind in _kind(row)]


def _kind(row: Row) -> Iterator[str]:
    try:
        row.load()
    except BadRow as problem:
        yield problem.kind


def csv_bytes(folder: Path, data: bytes, name: str = "captions.csv") -> DataSource:
    (folder / name).write_bytes(data)
    return source(folder / name)


@pytest.mark.parametrize("write", ALL_FORMATS.values(), ids=ALL_FORMATS)
def test_every_format_gives_the_same_rows(tmp_path: Path, pictures: list[Picture], write: Any) -> None:
    got = rows(source(write(tmp_path, pictures)))
    assert [row.captions for row in got] == [picture.captions for picture in pictures]
    assert [row.load() for row in got] == [picture.path.read_bytes() for picture in pictures]


@pytest.mark.parametrize("compressed", ["docarray, gzip", "docarray, lz4"])
def test_what_may_be_read_at_most_is_not_taken_from_the_memory(
    tmp_path: Path, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch, compressed: str
) -> None:
    monkeypatch.setattr(docarray_wire, "LARGEST", 1 << 60)  # more than any machine has
    assert len(rows(source(ALL_FORMATS[compressed](tmp_path, pictures)))) == len(pictures)


@pytest.mark.parametrize("write", ALL_FORMATS.values(), ids=ALL_FORMATS)
def test_the_fingerprint_changes_with_the_data(tmp_path: Path, pictures: list[Picture], write: Any) -> None:
    path = write(tmp_path, pictures)
    before = opened(source(path)).fingerprint
    assert opened(source(path)).fingerprint == before
    write(tmp_path, [*pictures[:-1], Picture(pictures[-1].path, ("something else",))])
    assert opened(source(path)).fingerprint != before


def test_a_picture_that_is_replaced_changes_a_tables_fingerprint(tmp_path: Path, pictures: list[Picture]) -> None:
    path = write_table(tmp_path / "captions.csv", pictures)
    before = opened(source(path)).fingerprint
    pictures[3].path.write_bytes(pictures[4].path.read_bytes())
    assert opened(source(path)).fingerprint != before


def test_where_filters_a_table_and_explains_an_empty_choice(tmp_path: Path, pictures: list[Picture]) -> None:
    path = write_table(tmp_path / "captions.csv", pictures, split=["train"] * 9 + ["test"] * 3)
    assert len(rows(source(path, where={"split": "test"}))) == 3
    nothing = opened(source(path, where={"split": "tset"}))
    assert list(nothing.read()) == []
    assert nothing.where.explain() == "no row has split = tset (met: train 19, test 6)"


@pytest.mark.parametrize("make", [write_folder, write_webdataset], ids=["folder", "webdataset"])
def test_where_takes_the_split_from_a_folders_name(tmp_path: Path, pictures: list[Picture], make: Any) -> None:
    make(tmp_path / "set" / "train", pictures[:9])
    make(tmp_path / "set" / "test", pictures[9:])
    got = rows(source(tmp_path / "set", where={"split": "test"}))
    assert [row.captions for row in got] == [picture.captions for picture in pictures[9:]]


def test_images_may_lie_elsewhere_absolutely_or_above(tmp_path: Path, pictures: list[Picture]) -> None:
    first, second, third = (picture.path for picture in pictures[:3])
    cells = [str(first), path_to_uri(second), f"../{third.parent.name}/{third.name}", pictures[3].name]
    (tmp_path / "tables").mkdir()
    spec = csv_bytes(tmp_path / "tables", b"image,caption\n" + b"".join(f"{c},x\n".encode() for c in cells))
    assert problems(spec) == [("captions.csv:5", "missing-image")]
    above = spec.model_copy(update={"images": path_to_uri(first.parent)})
    assert problems(above) == []


@pytest.mark.parametrize("pattern", ["shards/{0..1}.tar", "shards/{0,1}.tar", "shards/0.tar"])
def test_shards_by_pattern(tmp_path: Path, pictures: list[Picture], pattern: str) -> None:
    write_webdataset(tmp_path / "shards", pictures)
    got = rows(source(tmp_path / pattern))
    assert [row.captions for row in got] == [p.captions for p in pictures[: 12 if "{" in pattern else 6]]


def test_more_than_ten_shards_are_read_in_the_order_of_their_numbers(tmp_path: Path, pictures: list[Picture]) -> None:
    write_webdataset(tmp_path / "shards", pictures, shards=12, nshards=False)
    assert [row.captions for row in rows(source(tmp_path / "shards"))] == [picture.captions for picture in pictures]


def test_columns_are_found_by_usual_names_or_as_named(tmp_path: Path, pictures: list[Picture]) -> None:
    table = csv_bytes(tmp_path, b"Title,File Path,sku\nA,pictures/picture-00000.jpg,7\n")
    assert [(row.captions, row.group) for row in rows(table)] == [(("A",), None)]
    named = table.model_copy(update={"columns": Columns(caption="sku", group="sku")})
    assert [(row.captions, row.group) for row in rows(named)] == [(("7",), "7")]


BAD_ROWS = {
    "a missing picture": (b"no.jpg,x\n", ("captions.csv:2", "missing-image")),
    "an empty cell": (b",x\n", ("captions.csv:2", "missing-image")),
    "a web address": (b"https://example.com/a.jpg,x\n", ("captions.csv:2", "image-url")),
    "another scheme": (b"gs://bucket/a.jpg,x\n", ("captions.csv:2", "image-url")),
    "a data URI": (b'"data:image/png;base64,AAAA",x\n', ("captions.csv:2", "image-url")),
    "a comma without quotes": (b"a.jpg,red, blue\n", ("captions.csv:2", "bad-row")),
    "Latin-1": (b"a.jpg,caf\xe9\n", ("captions.csv:2", "wrong-encoding")),
    "a folder": (b"..,x\n", ("captions.csv:2", "missing-image")),
    "a row after one of several lines": (b'a.jpg,"x\ny"\nno.jpg,x\n', ("captions.csv:4", "missing-image")),
}


@pytest.mark.parametrize(("text", "expected"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_named(tmp_path: Path, text: bytes, expected: Any) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a picture, perhaps")
    assert problems(csv_bytes(tmp_path, b"image,caption\n" + text)) == [expected]


def test_a_folder_names_what_stands_alone(tmp_path: Path, pictures: list[Picture]) -> None:
    folder = write_folder(tmp_path / "set", pictures[:2])
    (folder / "alone.png").write_bytes(b"")
    (folder / "words.txt").write_text("nothing to see")
    (folder / "README.txt").write_text("not a caption")
    (folder / pictures[1].name).with_suffix(".txt").write_bytes(b"caf\xe9")
    assert problems(source(folder)) == [
        ("alone.png", "no-caption"),
        ("picture-00001.txt", "wrong-encoding"),
        ("words.txt", "missing-image"),
    ]


def test_members_that_leave_their_folder_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name in ("../up.jpg", "/etc/passwd.jpg", "a/../../b.txt"):
            add_member(tar, name, b"x")
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        add_member(tar, "words.txt", b"no picture")
        add_member(tar, "odd.jpg", b"x")
        add_member(tar, "odd.json", b"{")
    kinds = [kind for _, kind in problems(source(tmp_path / "0.tar"))]
    assert kinds == ["unsafe-member"] * 4 + ["missing-image", "bad-row"]


REFUSED = {
    "nothing there": ("no.csv", None, ObjectNotFound, "data.train.uri: nothing is stored at file:///"),
    "no caption column": ("a.csv", b"image,words\nx,y\n", DataInvalid, "its columns are image, words"),
    "no image column": ("a.csv", b"caption\nx\n", DataInvalid, "known to hold the image"),
    "an empty table": ("a.csv", b"", DataInvalid, "a.csv is empty"),
    "UTF-16": ("a.csv", "image,caption\n".encode("utf-16"), DataInvalid, "iconv -f UTF-16"),
    "no text": ("a.csv", b"PAR1\0\0\0", DataInvalid, "not a text file"),
    "an open quote": ("a.csv", b'image,caption\na.jpg,"' + b"x" * (1 << 21), DataInvalid, "a.csv:2 cannot be read"),
    "an unknown ending": ("a.zip", b"PK", DataInvalid, "found a file that ends in .zip"),
    "a broken tar": ("a.tar", b"x" * 2000, DataInvalid, "is broken after its beginning"),
    "braces without meaning": ("{x}.tar", None, DataInvalid, "neither a range such as"),
    "a shard missing from the pattern": ("{0..2}.tar", None, ObjectNotFound, "0.tar"),
}


@pytest.mark.parametrize(("name", "data", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, name: str, data: bytes, error: Any, message: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataInvalid) as caught:
        rows(source(tmp_path / name))
    assert type(caught.value) is error
    assert message in str(caught.value)
    assert caught.value.exit_code == 65


def test_unknown_columns_are_answered_with_those_there_are(tmp_path: Path) -> None:
    table = csv_bytes(tmp_path, b"image,caption\na.jpg,x\n")
    with pytest.raises(DataInvalid, match=r"data.train.columns.group: captions.csv has no column 'sku'; it has image"):
        rows(table.model_copy(update={"columns": Columns(group="sku")}))
    with pytest.raises(DataInvalid, match=r"data.train.where: captions.csv has no column 'split'; it has image"):
        rows(table.model_copy(update={"where": {"split": "train"}}))


def test_a_folder_that_may_be_two_formats_is_asked_about(tmp_path: Path, pictures: list[Picture]) -> None:
    write_folder(tmp_path / "set", pictures)
    write_webdataset(tmp_path / "set", pictures)
    write_table(tmp_path / "set" / "captions.csv", pictures)
    with pytest.raises(DataInvalid, match=r"format: .* found 13 \.txt, 12 \.jpg, 2 \.tar, 1 \.csv"):
        rows(source(tmp_path / "set"))


def test_a_missing_shard_of_a_counted_set_is_named(tmp_path: Path, pictures: list[Picture]) -> None:
    write_webdataset(tmp_path / "shards", pictures)
    (tmp_path / "shards" / "1.tar").unlink()
    with pytest.raises(DataInvalid, match=r"counts 2 shards, and 1.tar is not there"):
        rows(source(tmp_path / "shards"))


def test_a_shard_that_was_cut_is_refused(tmp_path: Path, pictures: list[Picture]) -> None:
    write_webdataset(tmp_path / "shards", pictures)
    whole = (tmp_path / "shards" / "1.tar").read_bytes()
    (tmp_path / "shards" / "1.tar").write_bytes(whole[: len(whole) // 2 + 100])
    with pytest.raises(DataInvalid, match=r"1.tar is broken after s00000"):
        rows(source(tmp_path / "shards"))
