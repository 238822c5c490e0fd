"""Where pictures lie: what a cell names, and how few requests it takes to look many up."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.storage import Entry, Store, open_store
from finetune_sdk.storage.file import FileStore
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.formats import open_rows
from finetune_trainer.data.places import LONGEST_KEY, PAGE, Place, list_places, resolve
from finetune_trainer.data.types import BadRow


class Bucket:
    """A bucket that counts requests, and refuses what it must not be asked."""

    def __init__(self, keys: list[str], uri: str = "s3://bucket") -> None:
        self.uri = uri
        self.requests = 0
        self.listed: list[str] = []
        self._keys = dict.fromkeys(keys)

    def stat(self, key: str) -> Entry | None:
        self.requests += 1
        assert len(key) <= LONGEST_KEY, "a server answers 400"
        return Entry(key, 1, "e") if key in self._keys else None

    def list(self, prefix: str = "") -> Iterator[Entry]:
        found = [key for key in self._keys if key.startswith(prefix)]
        self.requests += max(1, -(-len(found) // PAGE))
        self.listed.append(prefix)
        return iter([Entry(key, 1, "e") for key in found])

    def uri_of(self, key: str) -> str:
        return f"{self.uri}/{key}"


def _found(bucket: Bucket, keys: list[str]) -> set[str]:
    places = [Place(bucket.uri, key) for key in keys]
    return {place.key for place in list_places(places, lambda _: cast("Store", bucket))}


MANY = [f"photos/{number}.jpg" for number in range(5000)]
SPREAD = [f"train/{number // 10:04d}/{number}.jpg" for number in range(20_000)]
DEEP = [f"x/{number // 256}/{number // 16}/{number}.jpg" for number in range(4096)]
ELSEWHERE = [f"logs/{number}" for number in range(30_000)]

BUCKETS = {
    "many in one folder": (MANY, ELSEWHERE, 5, ["photos/"]),
    "few in each of many folders": (SPREAD, ELSEWHERE, 20, ["train/"]),
    "one at the root beside a few": ([*MANY[:40], "0100.png"], ELSEWHERE, 6, ["photos/"]),
    "many at the root beside many": ([*MANY, *(f"{n}.png" for n in range(300))], ELSEWHERE, 305, ["photos/"]),
    "a handful": (["a/1.jpg", "b/2.jpg", "3.jpg"], ELSEWHERE, 3, []),
    "two folders": ([*MANY, *SPREAD], ELSEWHERE, 25, ["photos/", "train/"]),
    "folders in folders": (DEEP, ELSEWHERE, 16, [f"x/{n}/" for n in range(16)]),
    "one among many others": (["photos/1.jpg"], MANY, 1, []),
}


@pytest.mark.parametrize(("keys", "others", "most", "listed"), BUCKETS.values(), ids=BUCKETS)
def test_a_bucket_is_asked_little(keys: list[str], others: list[str], most: int, listed: list[str]) -> None:
    bucket = Bucket([*keys, *others])
    assert _found(bucket, [*keys, "photos/no.jpg"]) == set(keys)
    assert bucket.requests <= most + 1
    assert sorted(bucket.listed) == sorted(listed)


def test_a_bucket_that_holds_them_all_at_its_root_is_listed() -> None:
    keys = [f"{number}.jpg" for number in range(20_000)]
    bucket = Bucket(keys)
    assert _found(bucket, keys) == set(keys)
    assert bucket.requests == 20


def test_the_folder_that_images_names_is_no_bucket() -> None:
    bucket = Bucket([f"{number}.jpg" for number in range(900)], "s3://bucket/set")
    assert len(_found(bucket, [f"{number}.jpg" for number in range(900)])) == 900
    assert bucket.listed == [""]


def test_a_key_that_no_bucket_can_hold_is_not_asked_for() -> None:
    long, deep = "x" * (LONGEST_KEY + 1), "a/" * 5000 + "b"
    assert _found(Bucket(MANY), [long, deep, MANY[0]]) == {MANY[0]}


def test_a_file_system_is_never_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one/a.jpg", "two/b.jpg", "one/deep/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(FileStore, "list", lambda *_: pytest.fail("a folder was listed"))
    cells = [str(tmp_path / "one/a.jpg"), path_to_uri(tmp_path / "two/b.jpg"), "/0100.png", "deep/c.jpg", "x" * 300]
    places = [resolve(path_to_uri(tmp_path / "one"), cell) for cell in cells]
    found = list_places(places, open_store)
    assert [place in found for place in places] == [True, True, False, True, False]


CELLS = {
    "file:///a/grp/../odd/x.png": Place("file:///", "a/odd/x.png"),
    "file:///a/./b//c%20d.png": Place("file:///", "a/b/c d.png"),
    "/a//../b.png": Place("file:///", "b.png"),
    "../b.png": Place("s3://bucket", "b.png"),
    "s3://other/a/b.png": Place("s3://other", "a/b.png"),
}


@pytest.mark.parametrize(("cell", "place"), CELLS.items(), ids=CELLS)
def test_a_cell_names_a_place(cell: str, place: Place) -> None:
    assert resolve("s3://bucket/set", cell) == place


BAD_CELLS = ("..", "../..", "file:///", "file:///..", "s3://bucket/a/../b.png", "s3://bucket/a//b.png", "a\0.png",
             ".finetune-0123.part", "file:///a/%00.png", "s3://B!/x.jpg", "s3://ab/x.jpg",
             "s3://key:secret@bucket/x.jpg")  # fmt: skip


@pytest.mark.parametrize("cell", BAD_CELLS)
def test_what_can_be_no_picture_is_a_bad_row(cell: str) -> None:
    with pytest.raises(BadRow, match="missing-image"):
        resolve("file:///base", cell)


def test_odd_paths_are_bad_rows_of_a_table_and_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    long = "x" * 300
    cells = ["a.jpg", f"{path_to_uri(tmp_path)}/grp/../a.jpg", f"{long}.jpg", f"/{long}/1.jpg", "s3://b/../c.jpg",
             "s3://B!/x.jpg"]  # fmt: skip
    (tmp_path / "a.csv").write_text("image,caption\n" + "".join(f"{cell},words\n" for cell in cells))
    rows = open_rows("data.train", DataSource(uri=path_to_uri(tmp_path / "a.csv")), open_store)
    problems = []
    for row in rows.read():
        try:
            row.load()
        except BadRow as bad:
            problems.append((row.where, bad.kind, bad.detail))
    assert [problem[:2] for problem in problems] == [(f"a.csv:{line}", "missing-image") for line in (4, 5, 6, 7)]
    assert problems[-1][2] == "s3://B!/x.jpg: 'B!' is no bucket's name: write s3://BUCKET/KEY"


def test_keys_in_a_cell_are_not_repeated() -> None:
    with pytest.raises(BadRow) as bad:
        resolve("file:///base", "s3://key:secret@bucket/x.jpg")
    assert "secret" not in bad.value.detail
