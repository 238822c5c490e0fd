"""What `finetune init` guesses: all splits that the data names, and the folder that holds its pictures."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pyarrow import parquet

from finetune_sdk.api.data import DataSource
from finetune_sdk.client.memory_store import MemoryStore
from finetune_sdk.errors import DataInvalid, StorageDenied
from finetune_sdk.storage import Entry, Store, open_store
from finetune_sdk.storage.file import FileStore
from finetune_sdk.uri import path_to_uri, uri_to_path
from finetune_trainer.data import guess as guessing
from finetune_trainer.data.guess import Guess, guess
from finetune_trainer.data.guess_splits import Splits
from tests.support.picture_formats import write_jsonl, write_karpathy, write_metadata, write_parquet
from tests.support.pictures import Picture, add_member, make_pictures, write_folder, write_table, write_webdataset

FULL = ["test"] * 6 + ["train"] * 4 + ["val"] * 2
SPLITS = {"train": "train", "validation": "val", "test": "test"}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer rows are looked at than one split has."""
    monkeypatch.setattr(guessing, "LOOKED_AT", 3)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    return make_pictures(tmp_path / "pictures", 12)


def guessed(path: Path) -> Guess:
    return guess(DataSource(uri=path_to_uri(path)), open_store)


def by_split(pictures: Sequence[Picture]) -> Iterator[tuple[str, list[Picture]]]:
    for name in ("test", "train", "val"):
        yield name, [picture for picture, split in zip(pictures, FULL, strict=True) if split == name]


def folders(folder: Path, pictures: list[Picture]) -> Path:
    for name, some in by_split(pictures):
        write_folder(folder / name, some)
    return folder


def shard_folders(folder: Path, pictures: list[Picture]) -> Path:
    for name, some in by_split(pictures):
        write_webdataset(folder / name, some)
    return folder


def named_files(folder: Path, pictures: list[Picture]) -> Path:
    for name, some in by_split(pictures):
        made = write_parquet(folder.parent / name, some, files=1)
        folder.mkdir(exist_ok=True)
        (made / "part-00000-of-00001.parquet").rename(folder / f"{name}-00000-of-00001.parquet")
    return folder


SETS = {
    "folders": folders,
    "folders of shards": shard_folders,
    "Parquet files' names": named_files,
    "a Parquet column": lambda folder, pictures: write_parquet(folder, pictures, split=FULL),
    "metadata": lambda folder, pictures: write_metadata(folder, pictures, "jsonl", FULL),
    "a table": lambda folder, pictures: write_table(folder.with_suffix(".csv"), pictures, split=FULL),
}


@pytest.mark.parametrize("write", SETS.values(), ids=SETS)
def test_splits_that_come_late_are_found(tmp_path: Path, pictures: list[Picture], write: object) -> None:
    found = guessed(write(tmp_path / "set", pictures))  # type: ignore[operator]
    assert (dict(found.splits.names), found.splits.unused) == (SPLITS, ())


def test_only_the_split_column_of_parquet_is_read(
    tmp_path: Path, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    iter_batches = parquet.ParquetFile.iter_batches

    def noted(file: object, **values: object) -> object:
        read.append(values["columns"])  # type: ignore[arg-type]
        return iter_batches(file, **values)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", noted)
    guessed(write_parquet(tmp_path / "set", pictures, split=FULL))
    assert read[-2:] == [["split"], ["split"]]
    assert len(read) == 3


TWO = ["test"] * 4 + ["train"] * 3 + ["restval"] * 3 + ["val"] * 2
FOLLOWED = {
    "csv": (lambda folder, pictures: write_table(folder / "a.csv", pictures, split=TWO), "split"),
    "jsonl": (lambda folder, pictures: write_jsonl(folder / "a.jsonl", pictures, split=TWO), "split"),
    "parquet": (lambda folder, pictures: write_parquet(folder / "set", pictures, split=TWO), "split"),
}


@pytest.mark.parametrize(("write", "column"), FOLLOWED.values(), ids=FOLLOWED)
def test_two_names_of_one_split_are_both_followed(
    tmp_path: Path, pictures: list[Picture], write: object, column: str
) -> None:
    splits = guessed(write(tmp_path, pictures)).splits  # type: ignore[operator]
    assert (dict(splits.names), splits.column, splits.unused) == ({}, column, ())


def test_karpathys_restval_is_train_already(tmp_path: Path, pictures: list[Picture]) -> None:
    splits = guessed(write_karpathy(tmp_path / "a.json", pictures, TWO)).splits
    assert (dict(splits.names), splits.column, splits.unused) == (SPLITS, None, ())


UNUSED = {
    "two names, one row without": (
        ["test"] * 4 + ["train"] * 4 + ["restval"] * 3 + [""],
        '"restval" means train as',
    ),
    "a name that is not known": (["test"] * 4 + ["train"] * 4 + ["extra\n"] * 4, '"extra\\n" is none of train'),
    "rows without a split": (["test"] * 4 + ["train"] * 4 + [""] * 4, "what has no split is left out"),
    "no test": (["train"] * 8 + ["val"] * 4, 'the data\'s splits are "train", "val", of which train and test are not'),
    "folds": (["1"] * 8 + ["2"] * 4, 'the data\'s splits are "1", "2", of which'),
}


@pytest.mark.parametrize(("split", "told"), UNUSED.values(), ids=UNUSED)
def test_what_is_not_followed_is_said(tmp_path: Path, pictures: list[Picture], split: list[str], told: str) -> None:
    lines = [
        {"image": f"pictures/{picture.name}", "caption": "words", **({"split": name} if name else {})}
        for picture, name in zip(pictures, split, strict=True)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    splits = guessed(tmp_path / "a.jsonl").splits
    assert any(sentence.startswith(told) for sentence in splits.unused)
    assert all("\n" not in sentence and sentence.isascii() for sentence in splits.unused)
    assert bool(splits.names) == ("test" in split)


def test_two_files_names_for_one_split_are_said(tmp_path: Path, pictures: list[Picture]) -> None:
    folder = named_files(tmp_path / "set", pictures)
    (folder / "val-00000-of-00001.parquet").rename(folder / "restval-00000-of-00001.parquet")
    splits = guessed(folder).splits
    assert dict(splits.names) == {"train": "train", "test": "test"}
    assert "and is left out: use one name in the data" in splits.unused[0]


@pytest.mark.parametrize("names", [["train"], ["cats", "dogs"], [""]])
def test_folders_that_are_no_splits_are_not_told(tmp_path: Path, pictures: list[Picture], names: list[str]) -> None:
    for index, name in enumerate(names):
        write_folder(tmp_path / "set" / name, pictures[index :: len(names)])
    assert guessed(tmp_path / "set").splits == Splits()


def test_splits_that_stand_in_samples_may_be_more_than_were_looked_at(tmp_path: Path, pictures: list[Picture]) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for index, (picture, split) in enumerate(zip(pictures, FULL, strict=True)):
            add_member(tar, f"{index}.jpg", picture.path.read_bytes())
            add_member(tar, f"{index}.json", json.dumps({"caption": "words", "split": split}).encode())
    assert guessed(tmp_path / "0.tar").splits.unused[0].startswith("splits stand in the samples, of which the first 3")


def test_splits_that_the_names_of_shards_tell_are_said(tmp_path: Path, pictures: list[Picture]) -> None:
    write_webdataset(tmp_path / "set", pictures, shards=2, nshards=False)
    (tmp_path / "set/0.tar").rename(tmp_path / "set/train-0.tar")
    (tmp_path / "set/1.tar").rename(tmp_path / "set/test-1.tar")
    assert guessed(tmp_path / "set").splits.unused[0].startswith("the names of shards tell splits")


REFUSED = {
    "empty captions": ("a.jpg, \nb.jpg,\n", r"2 of 2 rows cannot be used .*\n  a.csv:2: empty-caption"),
    "addresses": ("http://x/a.jpg,words\n", r"a.csv:2: image-url: .*\n.*\nfetch the pictures first"),
    "no rows": ("", "holds no rows"),
}


@pytest.mark.parametrize(("lines", "told"), REFUSED.values(), ids=REFUSED)
def test_data_without_captions_is_refused(tmp_path: Path, lines: str, told: str) -> None:
    (tmp_path / "a.csv").write_text("image,caption\n" + lines)
    with pytest.raises(DataInvalid, match=told):
        guessed(tmp_path / "a.csv")


def write_images(folder: Path, names: Sequence[str], size: int = 1) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x" * size)


NAMES = [f"{number}.jpg" for number in range(30)]


@pytest.mark.parametrize(("thumbs", "size"), [(NAMES[:3], 1), (NAMES, 1)], ids=["fewer", "as many, smaller"])
@pytest.mark.parametrize("above", ["", ".."])
def test_the_folder_that_holds_most_is_taken(tmp_path: Path, thumbs: list[str], size: int, above: str) -> None:
    (tmp_path / "set/text").mkdir(parents=True)
    table = tmp_path / "set/text/a.csv"
    table.write_text("image,caption\n" + "".join(f"{name},words\n" for name in NAMES))
    write_images(tmp_path / "set/text/a-thumbs", thumbs if thumbs is not NAMES or not above else thumbs[:3], size)
    write_images(tmp_path / "set/text" / above / "photos", NAMES, 10)
    found = guessed(table)
    assert found.images is not None
    assert uri_to_path(found.images) == (tmp_path / "set/text" / above / "photos").resolve()


def test_a_folder_that_may_not_be_read_ends_the_search_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> Iterator[Entry]:
        yield Entry("other.jpg", 1, "e")
        raise StorageDenied("file:///lost+found cannot be read")

    monkeypatch.setattr(FileStore, "list", denied)
    (tmp_path / "a.csv").write_text("image,caption\n1.jpg,words\n")
    found = guessed(tmp_path / "a.csv")
    assert (found.images, found.missing) == (None, "1.jpg")


class Mounted(FileStore):
    """A folder under another name."""

    uri = "file:///data"

    def uri_of(self, key: str) -> str:
        return f"{self.uri}/{key}"


def test_the_whole_file_system_is_not_looked_through(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,caption\n1.jpg,words\n")

    def stores(uri: str) -> Store:
        assert uri == Mounted.uri
        return Mounted(tmp_path)

    assert guess(DataSource(uri="file:///data/a.csv"), stores).missing == "1.jpg"


class Bucket:
    """A bucket's objects, and how many of them were listed in all, those of the table's own folder twice."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.listed = 0

    def store(self, uri: str) -> Store:
        bucket, prefix = self, uri.removeprefix("s3://bucket").lstrip("/")
        left = {key.removeprefix(f"{prefix}/"): data for key, data in self.objects.items() if key.startswith(prefix)}

        class Below(MemoryStore):
            def list(self, prefix: str = "", most: int | None = None) -> Iterator[Entry]:
                found = list(super().list(prefix, most))
                bucket.listed += len(found)
                return iter(found)

        store = Below(uri)
        for key, data in left.items():
            store.write(key, data)
        return store


LINES = ("image,caption\n" + "".join(f"{name},words\n" for name in NAMES)).encode()
PHOTOS = {f"photos/{name}": b"x" for name in NAMES}
LOGS = {f"~logs/{number}": b"" for number in range(3000)}
BUCKETS = {
    "pictures beside the table's folder": ("s3://bucket/text/a.csv", PHOTOS | LOGS, "s3://bucket/photos", 2 + 1000),
    "pictures below the table at the root": ("s3://bucket/a.csv", PHOTOS | LOGS, "s3://bucket/photos", 1000),
    "pictures after some others": (
        "s3://bucket/text/a.csv",
        {key.removeprefix("~"): data for key, data in LOGS.items()} | PHOTOS,
        "s3://bucket/photos",
        2 + 1000 + 3031,
    ),
    "no pictures": ("s3://bucket/a.csv", LOGS, None, 1000 + 3001),
}


@pytest.mark.parametrize(("uri", "objects", "images", "most"), BUCKETS.values(), ids=BUCKETS)
def test_no_more_of_a_bucket_is_listed_than_it_takes(
    uri: str, objects: dict[str, bytes], images: str | None, most: int
) -> None:
    bucket = Bucket({uri.removeprefix("s3://bucket/"): LINES} | objects)
    assert guess(DataSource(uri=uri), bucket.store).images == images
    assert bucket.listed == most


def test_a_bucket_of_any_size_is_looked_through_as_far_as_a_folder_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "LOOKED_THROUGH_FIRST", (1000,))
    monkeypatch.setattr(guessing, "LOOKED_THROUGH", 2000)
    bucket = Bucket({"text/a.csv": LINES} | LOGS)
    assert guess(DataSource(uri="s3://bucket/text/a.csv"), bucket.store).missing == NAMES[0]
    assert bucket.listed == 2 + 1000 + 2000
