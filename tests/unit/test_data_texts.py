"""What stands in files as users have them: columns without a name, lists in a cell, halves of characters, odd tars."""

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.docarray_tensor import encode_tensor
from finetune_trainer.data.fields import captions_of
from finetune_trainer.data.formats import open_rows
from finetune_trainer.data.hashing import near_pairs
from finetune_trainer.data.readers import Rows
from finetune_trainer.data.types import BadRow, Row
from finetune_trainer.records import Leak, Problem
from tests.support.pictures import add_member, make_pictures

HALF = "\ud83d"


def opened(path: Path, field: str = "data.source") -> Rows:
    return open_rows(field, DataSource(uri=path_to_uri(path)), open_store)


def rows_of_table(folder: Path, text: str) -> list[Row]:
    (folder / "captions.csv").write_text(text)
    return list(opened(folder / "captions.csv").read())


def problem_of(row: Row) -> BadRow:
    with pytest.raises(BadRow) as caught:
        row.load()
    return caught.value


def test_the_index_that_pandas_writes_is_neither_split_nor_group(tmp_path: Path) -> None:
    rows = rows_of_table(tmp_path, ",image,caption\n0,a.png,one\n1,a.png,two\n0,b.png,three\n")
    assert [(row.captions, row.split, row.group) for row in rows] == [
        (("one", "two"), None, None),
        (("three",), None, None),
    ]


LISTS = {
    "JSON": ('["a cat", "it\'s a \\"cat\\""]', ["a cat", 'it\'s a "cat"']),
    "Python": (str(["a cat", "it's", 'a "cat"']), ["a cat", "it's", 'a "cat"']),
    "spaces": (' ["a cat"]\n', ["a cat"]),
    "a caption in brackets": ("[a cat]", ["[a cat]"]),
    "numbers": ("[1, 2]", ["[1, 2]"]),
    "a quote": ("'a cat'", ["'a cat'"]),
}


@pytest.mark.parametrize(("cell", "captions"), LISTS.values(), ids=LISTS)
def test_a_list_in_a_cell_is_several_captions(cell: str, captions: list[str]) -> None:
    assert captions_of(cell, "raw") == captions


@pytest.mark.parametrize("cell", ["['a cat' 'a dog']", '["a cat", 3, "a dog"]', "['a cat, 'a dog']"])
def test_a_list_that_cannot_be_read_is_no_caption(cell: str) -> None:
    with pytest.raises(BadRow, match=r"raw holds a list that cannot be read, .*: write it as JSON"):
        captions_of(cell, "raw")


def test_half_a_character_is_that_rows_problem(tmp_path: Path) -> None:
    lines = [{"image": "a.png", "caption": "a cat"}, {"image": f"{HALF}.png", "caption": "a dog"}]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    good, bad = opened(tmp_path / "data.jsonl").read()
    assert problem_of(good).kind == "missing-image"
    assert problem_of(bad).kind == "wrong-encoding"
    assert "its path holds a part of a character (...\\ud83d): write it anew" in problem_of(bad).detail


def test_what_is_told_of_a_row_can_be_stored_whatever_its_files_name() -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    problem = Problem(kind="broken-image", where=name, detail=f"{name} is cut")
    assert json.loads(problem.model_dump_json())["where"] == "caf?.png"
    assert "caf?.png" in Leak(train=name, other=name, split="test", kind="bytes").model_dump_json()


def test_rows_of_one_group_are_said_to_stay_together_only_where_they_do(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("image,caption,group\na.png,one,g\n")
    assert any("group" in note for note in opened(tmp_path / "captions.csv").notes)
    assert not opened(tmp_path / "captions.csv", "data.train").notes


def test_cocos_ids_are_the_same_as_number_and_as_text(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": "8", "file_name": "b.png"}],
        "annotations": [{"image_id": "7", "caption": "a cat"}, {"image_id": 8, "caption": "a dog"}],
    }
    (tmp_path / "captions.json").write_text(json.dumps(document))
    assert [row.captions for row in opened(tmp_path / "captions.json").read()] == [("a cat",), ("a dog",)]


def a_shard(folder: Path, members: Sequence[tuple[str, bytes]]) -> list[Row]:
    with tarfile.open(folder / "0.tar", "w") as tar:
        for name, data in members:
            add_member(tar, name, data)
    return list(opened(folder / "0.tar").read())


def test_what_macos_hides_between_the_files_of_a_sample_is_passed_over(tmp_path: Path) -> None:
    (picture,) = make_pictures(tmp_path, 1)
    data = picture.path.read_bytes()
    members = [("./._0.jpg", b"x"), ("./0.jpg", data), ("./._0.txt", b"x"), ("./0.txt", b"a cat"), ("README", b"")]
    (row,) = a_shard(tmp_path, members)
    assert (row.load(), row.captions) == (data, ("a cat",))


def test_a_sample_whose_files_are_no_neighbours_says_so(tmp_path: Path) -> None:
    members = [("0.jpg", b"x"), ("1.jpg", b"x"), ("0.txt", b"a cat"), ("1.txt", b"a dog")]
    *_, third, fourth = a_shard(tmp_path, members)
    for row in (third, fourth):
        assert problem_of(row).kind == "scattered-sample"
        assert problem_of(row).detail == "txt of a sample lies apart from the rest of it"


def test_two_whole_samples_of_one_name_are_two(tmp_path: Path) -> None:
    whole = [("0.jpg", b"x"), ("0.txt", b"a cat")]
    assert [row.captions for row in a_shard(tmp_path, [*whole, ("1.jpg", b"x"), ("1.txt", b"b"), *whole])] == [
        ("a cat",),
        ("b",),
        ("a cat",),
    ]


def test_an_empty_tensor_is_no_picture() -> None:
    dense = {"buffer": b"", "dtype": "|u1", "shape": [0, 5, 3]}
    with pytest.raises(BadRow, match="its tensor is 0 x 5 x 3 uint8"):
        encode_tensor({"dense": dense})


def test_near_hashes_are_found_between_sets_of_any_sizes() -> None:
    draw = np.random.default_rng(0)
    right = np.unique(draw.integers(0, 1 << 63, 50).astype(np.uint64))
    left = right[10:13] ^ np.uint64(0b1011)
    assert near_pairs(left, right).tolist() == [[0, 10], [1, 11], [2, 12]]
    assert near_pairs(left, right[:0]).shape == (0, 2)
