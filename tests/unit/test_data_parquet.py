"""Parquet whose pictures lie beside it, and files whose names tell their split."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from finetune_sdk.api.data import DataSource
from finetune_sdk.storage import Store, open_store
from finetune_sdk.storage.file import FileStore
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.formats import open_rows
from finetune_trainer.data.readers import Rows
from finetune_trainer.data.types import BadRow
from tests.support.pictures import make_pictures

STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def write(
    path: Path, images: list[Any], kind: pa.DataType = STRUCT, *, told: bool = True, **columns: list[str]
) -> None:
    """`told`: the footer counts what is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"caption {index}" for index in range(len(images))]
    table = pa.table({"image": pa.array(images, kind), "caption": texts, **columns})
    parquet.write_table(table, path, row_group_size=2, write_statistics=told)


def opened(folder: Path, stores: Any = open_store, **values: object) -> Rows:
    return open_rows("data.train", DataSource.model_validate({"uri": path_to_uri(folder), **values}), stores)


def named(name: str, data: bytes | None = None) -> dict[str, Any]:
    return {"bytes": data, "path": name}


PATHS = [named("a.jpg"), named("b.jpg"), named("a.jpg")]
SOME_BYTES = [named("in.jpg", b"x" * 9000), named("a.jpg"), named("b.jpg"), named("in.jpg", b"y")]
NO_BYTES = pa.struct({"bytes": pa.null(), "path": pa.large_string()})
SETS = {
    "paths alone": (PATHS, STRUCT, True),
    "paths alone, untold": (PATHS, STRUCT, False),
    "paths alone, of a type without bytes": (PATHS, NO_BYTES, True),
    "some bytes": (SOME_BYTES, STRUCT, True),
    "some bytes, untold": (SOME_BYTES, STRUCT, False),
}


@pytest.mark.parametrize(("images", "kind", "told"), SETS.values(), ids=SETS)
def test_pictures_beside_are_part_of_the_fingerprint(
    tmp_path: Path, images: list[dict[str, Any]], kind: pa.DataType, told: bool
) -> None:
    write(tmp_path / "set/data.parquet", images, kind, told=told)
    met = []
    for content in (None, b"first", b"other"):
        if content is not None:
            (tmp_path / "set/a.jpg").write_bytes(content)
        met.append(opened(tmp_path / "set").fingerprint)
        assert opened(tmp_path / "set").fingerprint == met[-1]
    assert len(set(met)) == 3


UNLIKE: dict[str, tuple[tuple[pa.DataType, list[Any]], ...]] = {
    "pictures, then paths": ((STRUCT, [named("in.jpg", b"x")]), (pa.string(), ["a.jpg"])),
    "paths, then pictures": ((pa.string(), ["a.jpg"]), (STRUCT, [named("in.jpg", b"x")])),
    "bytes, then paths": ((pa.binary(), [b"x"]), (pa.string(), ["a.jpg"])),
    "bytes, then paths of many values": ((pa.binary(), [b"x"]), (pa.dictionary(pa.int32(), pa.string()), ["a.jpg"])),
    "paths, then pictures without bytes": ((pa.string(), ["b.jpg"]), (STRUCT, [named("a.jpg")])),
}


@pytest.mark.parametrize("files", UNLIKE.values(), ids=UNLIKE)
def test_files_of_unlike_kinds_are_read_by_their_own(
    tmp_path: Path, files: tuple[tuple[pa.DataType, list[Any]], ...]
) -> None:
    for number, (kind, images) in enumerate(files):
        write(tmp_path / f"set/{number}.parquet", images, kind)
    met = []
    for content in (b"first", b"other"):
        for name in ("a.jpg", "b.jpg"):
            (tmp_path / "set" / name).write_bytes(content)
        rows = opened(tmp_path / "set")
        assert {row.load() for row in rows.read()} <= {b"x", content}
        met.append(rows.fingerprint)
    assert len(set(met)) == 2


def test_pictures_of_one_file_are_not_all_held_where_another_has_paths(tmp_path: Path) -> None:
    """As many as a file has would not fit the memory."""
    write(tmp_path / "set/0.parquet", ["a.jpg"], pa.string())
    write(tmp_path / "set/1.parquet", [named("in.jpg", b"x")] * 3)
    assert opened(tmp_path / "set").total is None


def test_the_filter_keeps_others_pictures_out_of_the_fingerprint(tmp_path: Path) -> None:
    images = [named("a.jpg"), named("b.jpg"), named("in.jpg", b"x")]
    write(tmp_path / "set/data.parquet", images, split=["train", "test", "train"])
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "set" / name).touch()
    before = opened(tmp_path / "set", where={"split": "train"})
    (tmp_path / "set/b.jpg").write_bytes(b"other")
    assert opened(tmp_path / "set", where={"split": "train"}).fingerprint == before.fingerprint
    (tmp_path / "set/a.jpg").write_bytes(b"other")
    assert opened(tmp_path / "set", where={"split": "train"}).fingerprint != before.fingerprint
    list(before.read())
    assert before.where.met == {"split": {"train": 2, "test": 1}}


def test_paths_alone_are_joined_and_looked_up_as_a_tables(tmp_path: Path) -> None:
    write(tmp_path / "set/data.parquet", PATHS)
    (tmp_path / "set/a.jpg").write_bytes(b"a picture, perhaps")
    rows = opened(tmp_path / "set")
    first, second = rows.read()
    assert (rows.total, first.captions) == (2, ("caption 0", "caption 2"))
    assert first.load() == b"a picture, perhaps"
    with pytest.raises(BadRow, match="missing-image"):
        second.load()


def test_bytes_inside_need_no_look_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "set/data.parquet", [named("a.jpg", b"one"), named("b.jpg", b"two")])
    stat = FileStore.stat
    monkeypatch.setattr(FileStore, "stat", lambda store, key: pytest.fail(key) if "jpg" in key else stat(store, key))
    assert [row.load() for row in opened(tmp_path / "set").read()] == [b"one", b"two"]


class Opened(FileStore):
    """Notes what is opened."""

    keys: list[str] = []  # noqa: RUF012 - of all stores of a test

    def open(self, key: str, start: int = 0) -> Any:
        self.keys.append(key)
        return super().open(key, start)


def _noting(uri: str) -> Store:
    return Opened(Path(uri.removeprefix("file://")))


def test_other_splits_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Opened, "keys", [])
    picture = make_pictures(tmp_path / "pictures", 1)[0].path.read_bytes()
    files = {name: f"{name}-00000-of-00001.parquet" for name in ("test", "train")}
    for file in files.values():
        write(tmp_path / "set" / file, [named("a.jpg", picture)] * 2)
    rows = opened(tmp_path / "set", _noting, where={"split": "train"})
    del Opened.keys[:]
    assert len(list(rows.read())) == 2
    assert {*Opened.keys} == {files["train"]}
    before = rows.fingerprint
    write(tmp_path / "set" / files["test"], [named("b.jpg", picture)])
    assert opened(tmp_path / "set", where={"split": "train"}).fingerprint == before


def test_a_split_that_no_file_is_of_is_explained_by_those_there_are(tmp_path: Path) -> None:
    for name in ("test", "train"):
        write(tmp_path / f"set/{name}-00000-of-00001.parquet", [named("a.jpg", b"x")] * 2)
    rows = opened(tmp_path / "set", where={"split": "tset"})
    assert list(rows.read()) == []
    assert rows.where.explain() == "no row has split = tset (met: test 2, train 2)"


def test_a_split_column_counts_more_than_files_names(tmp_path: Path) -> None:
    write(tmp_path / "set/train-00000-of-00001.parquet", [named("a.jpg", b"x")] * 2, split=["train", "test"])
    write(tmp_path / "set/more-00000-of-00001.parquet", [named("a.jpg", b"x")] * 2, split=["test", "test"])
    assert len(list(opened(tmp_path / "set", where={"split": "test"}).read())) == 3
