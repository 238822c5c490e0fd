"""T19: one set in every format, its captions hard to write down, is one data set; splits and filters of each format."""

import json
import shutil
from pathlib import Path

import pytest

from finetune_sdk.api.data import Data
from finetune_sdk.storage import Store, open_store
from finetune_trainer.data.prepare import prepare_test
from finetune_trainer.progress import Silent
from tests.support import picture_formats as more
from tests.support.all_formats import ALL_FORMATS, Write
from tests.support.command import Command
from tests.support.minio import S3Server
from tests.support.models import tiny_open_clip_dir
from tests.support.pictures import Picture, write_folder, write_table
from tests.support.preparing import ODD, PREPROCESS, measured, prepared, source, twelve_pictures

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "docarray"
SPLITS = ["train"] * 7 + ["restval"] + ["test"] * 4


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    return twelve_pictures(tmp_path)


@pytest.mark.parametrize("write", ALL_FORMATS.values(), ids=ALL_FORMATS)
def test_one_set_in_every_format_has_one_digest(tmp_path: Path, pictures: list[Picture], write: Write) -> None:
    _, expected = measured(write_folder(tmp_path / "reference", pictures))
    split, report = measured(write(tmp_path, pictures))
    assert report.splits == expected.splits
    assert (report.rows_bad, report.oddities) == (0, {})
    assert len(split.images[0].captions) == len(ODD)


def test_one_set_in_every_format_has_the_same_figures(
    finetune: Command, tmp_path: Path, pictures: list[Picture]
) -> None:
    model = tiny_open_clip_dir(tmp_path / "base")
    figures = {}
    for number, (name, write) in enumerate(ALL_FORMATS.items()):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "pictures", folder / "pictures")
        moved = [Picture(folder / "pictures" / one.name, one.captions) for one in pictures]
        data = write(folder, moved)
        ended = finetune(tmp_path, "evaluate", "-m", model, "-d", data, "-k", "1", "-k", "5", "-o", "figures.json")
        assert ended.code == 0, ended.err
        document = json.loads((tmp_path / "figures.json").read_bytes())
        figures[name] = (document["metrics"], document["queriesDigest"])
    assert len({json.dumps(one, sort_keys=True) for one in figures.values()}) == 1, figures


REMOTE = (
    "folder, metadata.jsonl",
    "jsonl",
    "json list",
    "parquet",
    "parquet, paths",
    "parquet, a pattern",
    "coco",
    "karpathy",
    "flickr",
    "docarray",
    "docarray, json",
)


@pytest.mark.parametrize("name", REMOTE)
def test_a_set_in_a_bucket_is_the_set_in_files(
    tmp_path: Path, minio_server: S3Server, pictures: list[Picture], name: str
) -> None:
    def stores(at: str) -> Store:
        return open_store(at, minio_server.credentials)

    data = ALL_FORMATS[name](tmp_path, pictures)
    _, expected = measured(data)
    bucket = minio_server.scratch()
    store = stores(bucket)
    for path in tmp_path.rglob("*"):
        if path.is_file() and "cache" not in path.parts:
            store.write_file(path.relative_to(tmp_path).as_posix(), path)
    spec = source(data).model_copy(update={"uri": f"{bucket}/{data.relative_to(tmp_path).as_posix()}"})
    if name == "parquet, paths":
        assert spec.images is None  # its cells are absolute
    _, report = prepare_test(spec, PREPROCESS, cache_root=tmp_path / "s3", stores=stores, progress=Silent())
    assert report.splits == expected.splits


def metadata_of_splits(folder: Path, pictures: list[Picture]) -> Path:
    return more.write_metadata(folder / "set", pictures, "jsonl", ["test" if s == "test" else "train" for s in SPLITS])


def parquet_of_splits(folder: Path, pictures: list[Picture]) -> Path:
    for name, chosen in (("train", pictures[:8]), ("test", pictures[8:])):
        more.write_parquet(folder / name, chosen, files=1)
        (folder / "data").mkdir(exist_ok=True)
        (folder / name / "part-00000-of-00001.parquet").rename(folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder / "data"


def token_with_lists(folder: Path, pictures: list[Picture]) -> Path:
    names = [f"pictures/{picture.name}" for picture in pictures]
    for name, chosen in (("train", names[:8]), ("test", names[8:])):
        lines = "".join(f"{one.rpartition('/')[2]}\r\n" for one in chosen)
        (folder / f"Flickr_8k.{name}Images.txt").write_bytes(lines.encode())
    return more.write_token(folder / "Flickr8k.token.txt", pictures)


def plain(split: str) -> str:
    return "train" if split == "restval" else split


OWN_SPLITS: dict[str, Write] = {
    "jsonl": lambda folder, p: more.write_jsonl(folder / "a.jsonl", p, split=[*map(plain, SPLITS)]),
    "parquet's column": lambda folder, p: more.write_parquet(folder / "pq", p, split=[*map(plain, SPLITS)]),
    "parquet's names": parquet_of_splits,
    "karpathy, restval is train": lambda folder, p: more.write_karpathy(folder / "dataset.json", p, SPLITS),
    "flickr's lists": token_with_lists,
    "metadata in folders": metadata_of_splits,
}


@pytest.mark.parametrize("write", OWN_SPLITS.values(), ids=OWN_SPLITS)
def test_a_formats_own_splits_are_filtered_and_followed(tmp_path: Path, pictures: list[Picture], write: Write) -> None:
    path = write(tmp_path, pictures)
    train, test = (source(path, where={"split": name}) for name in ("train", "test"))
    dataset = prepared(Data(train=train, validation=test, test=test, leakage="report"), tmp_path)
    assert [len(split.images) for split in (dataset.train, dataset.test)] == [8, 4]
    reference = write_table(tmp_path / "all.csv", pictures, split=[*map(plain, SPLITS)])
    test_alone, _ = measured(reference, where={"split": "test"})
    assert [image.pixels_sha256 for image in dataset.test.images] == [i.pixels_sha256 for i in test_alone.images]
    followed, _ = measured(path)
    assert {image.split for image in followed.images} == {"train", "test"}


WRITTEN_BY_DOCARRAY = (
    "set.protobuf",
    "set.protobuf.lz4",
    "set.protobuf.gzip",
    "set.protobuf-array",
    "set.protobuf-array.lz4",
    "set.protobuf-array.gzip",
    "jsonschema.json",
    "protobuf.json",
)


@pytest.mark.parametrize("name", WRITTEN_BY_DOCARRAY)
def test_what_docarray_itself_wrote_is_read(tmp_path: Path, name: str) -> None:
    shutil.copytree(SAMPLES, tmp_path / "set")
    split, report = measured(tmp_path / "set" / name)
    expected = [('a dog, cat.jpg, and "quotes"', "one line of it"), ("a café",), ("third", "the third")]
    assert [image.captions for image in split.images] == expected
    assert [image.split for image in split.images] == ["train", "train", "test"]
    assert report.rows_bad == 0
    one, _ = measured(tmp_path / "set" / name, where={"shelf": "7", "ok": "true", "split": "train"})
    assert len(one.images) == 2
    reference, _ = measured(tmp_path / "set" / "set.protobuf")
    assert [i.pixels_sha256 for i in split.images] == [i.pixels_sha256 for i in reference.images]
