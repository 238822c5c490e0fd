"""Which format a source is taken for, and that the reader then reads what was detected."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Entry, open_store
from finetune_sdk.storage.file import FileStore
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.formats import choose_reader, locate, open_rows
from finetune_trainer.data.types import BadRow, Row

TABLE = b"image,caption\nimages/1.jpg,a dog\nimages/1.jpg,a brown dog\nimages/2.jpg,a cat\n"
JSON_LINES = b'{"image": "images/1.jpg", "caption": "a dog"}\n{"image": "images/2.jpg", "caption": "a cat"}\n'


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def source(path: Path, **values: object) -> DataSource:
    return DataSource.model_validate({"uri": path_to_uri(path), **values})


def rows(path: Path, **values: object) -> list[Row]:
    return list(open_rows("data.train", source(path, **values), open_store).read())


def detected(path: Path) -> str:
    return choose_reader(locate("data.train", source(path), open_store)).formats[0]


def captions(path: Path, **values: object) -> dict[str, tuple[str, ...]]:
    return {row.name: row.captions for row in rows(path, **values)}


def refusal(path: Path, **values: object) -> str:
    with pytest.raises(DataInvalid) as caught:
        rows(path, **values)
    return str(caught.value)


@pytest.mark.parametrize(("table", "known"), [("metadata.csv", "folder"), ("labels.csv", "csv")])
def test_a_table_after_more_than_a_thousand_pictures_is_found(tmp_path: Path, table: str, known: str) -> None:
    names = [f"{number:04}.jpg" for number in range(1005)]
    text = "file_name,text\n" + "".join(f"{name},picture {name}\n" for name in names)
    folder(tmp_path, {**dict.fromkeys(names, b"x"), table: text.encode()})
    assert detected(tmp_path) == known
    assert captions(tmp_path) == {name: (f"picture {name}",) for name in names}


def test_all_pictures_without_captions_are_counted(tmp_path: Path) -> None:
    folder(tmp_path, {f"{number:04}.jpg": b"x" for number in range(1005)})
    assert "holds pictures and no captions: found 1005 .jpg. Put" in refusal(tmp_path)


PICTURES = {"images/1.jpg": b"x", "images/2.jpg": b"x"}
BOTH = {"images/1.jpg": ("a dog", "a brown dog"), "images/2.jpg": ("a cat",)}
WITH_A_TABLE: dict[str, dict[str, bytes]] = {
    "Kaggle's captions.txt": {"captions.txt": TABLE},
    "captions.txt and notes": {"captions.txt": TABLE, "notes.txt": b"from the web\n", "images/notes.txt": b"image,x"},
    "captions.csv and a README": {"captions.csv": TABLE, "README.txt": b"image,caption of them\nmine\n"},
    "captions.csv and a README beside its picture": {"captions.csv": TABLE, "README.txt": b"x", "README.png": b"x"},
    "captions.csv and more texts than are opened": {
        "captions.csv": TABLE,
        **{f"notes-{number}.txt": TABLE for number in range(101)},
    },
    "captions.tsv and requirements": {"captions.tsv": TABLE.replace(b",", b"\t"), "requirements.txt": b"torch\n"},
}


@pytest.mark.parametrize("files", WITH_A_TABLE.values(), ids=WITH_A_TABLE)
def test_a_text_beside_a_table_does_not_hide_it(tmp_path: Path, files: dict[str, bytes]) -> None:
    folder(tmp_path, PICTURES | files)
    assert detected(tmp_path) == "csv"
    assert captions(tmp_path) == BOTH
    assert captions(tmp_path, format="csv") == BOTH


def test_a_text_beside_json_lines_does_not_hide_them(tmp_path: Path) -> None:
    folder(tmp_path, PICTURES | {"a.jsonl": JSON_LINES, "LICENSE.txt": b"free"})
    assert captions(tmp_path) == {"images/1.jpg": ("a dog",), "images/2.jpg": ("a cat",)}


def test_a_text_of_a_pictures_name_makes_a_folder(tmp_path: Path) -> None:
    folder(tmp_path, PICTURES | {"images/2.txt": b"a cat\n", "captions.txt": TABLE})
    assert detected(tmp_path) == "folder"


def test_a_table_beside_metadata_is_asked_about_and_read_where_its_format_is_named(tmp_path: Path) -> None:
    folder(tmp_path, PICTURES | {"captions.csv": TABLE, "metadata.csv": b"file_name,text\nimages/1.jpg,x\n"})
    assert "may be csv or folder" in refusal(tmp_path)
    assert captions(tmp_path, format="csv") == BOTH


def test_metadata_alone_is_a_table_where_its_format_is_named(tmp_path: Path) -> None:
    folder(tmp_path, PICTURES | {"metadata.csv": TABLE})
    assert captions(tmp_path, format="csv") == BOTH


UNKNOWN: dict[str, tuple[dict[str, bytes], tuple[str, ...]]] = {
    "texts that belong to no picture": (
        {"texts/1.txt": b"a dog", "texts/2.txt": b"a cat"},
        ("holds pictures and no captions: found 2 .jpg, 2 .txt", "name that file as uri"),
    ),
    "a README": ({"README.md": b"mine"}, ("holds pictures and no captions: found 2 .jpg, 1 .md",)),
    "two tables": (
        {"captions.txt": TABLE, "test.csv": TABLE},
        ("data.train.uri: file:///", "holds 2 tables, captions.txt, test.csv: name one of them", "/captions.txt"),
    ),
    "Flickr30k's results.csv": (
        {"results.csv": b"image_name| comment_number| comment\n1.jpg| 0| a dog\n"},
        ("no format that is known: found 2 .jpg, 1 .csv", "name that file as uri"),
    ),
}


@pytest.mark.parametrize(("files", "told"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_folder_that_is_not_known_says_what_would_work(
    tmp_path: Path, files: dict[str, bytes], told: tuple[str, ...]
) -> None:
    message = refusal(folder(tmp_path, PICTURES | files))
    assert [part for part in told if part not in message] == [], message


@pytest.mark.parametrize("named", ["auto", "jsonl"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n"], ids=["plain", "BOM", "an empty line"])
def test_json_lines_in_a_json_are_read(tmp_path: Path, named: str, start: bytes) -> None:
    path = folder(tmp_path, PICTURES | {"a.json": start + JSON_LINES}) / "a.json"
    assert captions(path, format=named) == {"images/1.jpg": ("a dog",), "images/2.jpg": ("a cat",)}


@pytest.mark.parametrize(("line", "why"), [(b'{"image": "ima', "it is no JSON"), (b'{"a": "\xe9"}', "it is not UTF-8")])
def test_a_bad_line_of_json_lines_in_a_json_is_named(tmp_path: Path, line: bytes, why: str) -> None:
    path = folder(tmp_path, PICTURES | {"a.json": JSON_LINES + line}) / "a.json"
    *_, last = rows(path)
    assert last.where == "a.json:3"
    with pytest.raises(BadRow, match=why):
        last.load()


def test_json_lines_in_a_json_are_known_as_jsonl(tmp_path: Path) -> None:
    path = folder(tmp_path, PICTURES | {"a.json": JSON_LINES}) / "a.json"
    assert detected(path) == "jsonl"


NO_JSON = {
    "cut": (json.dumps([{"image": "1.jpg"}])[:-2], "it may be cut, upload it again"),
    "two documents of many lines": (
        '{\n"image": 1}\n{\n"image": 2}\n',
        "write one list of objects, or an object a line",
    ),
    "two lists": ("[1]\n[2]\n", "write one list of objects, or an object a line"),
}


@pytest.mark.parametrize(("text", "hint"), NO_JSON.values(), ids=NO_JSON)
def test_what_is_neither_json_nor_json_lines_is_refused(tmp_path: Path, text: str, hint: str) -> None:
    message = refusal(folder(tmp_path, {"a.json": text.encode()}) / "a.json")
    assert "a.json is no JSON (" in message
    assert message.endswith(hint)


@pytest.mark.parametrize("named", ["coco", "karpathy", "docarray"])
def test_json_lines_are_no_other_format(tmp_path: Path, named: str) -> None:
    path = folder(tmp_path, PICTURES | {"a.json": JSON_LINES}) / "a.json"
    assert "a.json is no " in refusal(path, format=named)


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, {"1.jpg": b"", "1.txt": b"a dog", "2.jpg": b"", "2.txt": b"a cat"})
    listings, listed = [], FileStore.list

    def counted(self: FileStore, prefix: str = "", most: int | None = None) -> Iterator[Entry]:
        listings.append(prefix)
        return listed(self, prefix, most)

    monkeypatch.setattr(FileStore, "list", counted)
    assert len(rows(tmp_path)) == 2
    assert len(listings) == 1
