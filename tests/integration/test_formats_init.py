"""`finetune init`: what it writes of each format is a sound run over the same pictures."""

from pathlib import Path

import pytest

from finetune_sdk.runfile import load_run
from finetune_sdk.storage import open_store
from finetune_sdk.uri import uri_to_path
from tests.support import picture_formats as more
from tests.support.all_formats import ALL_FORMATS
from tests.support.command import Command
from tests.support.minio import S3Server
from tests.support.pictures import Picture, make_pictures, write_table
from tests.support.preparing import measured, prepared, twelve_pictures

SPLITS = ["train"] * 6 + ["val"] * 2 + ["test"] * 4


FORMATS = (
    "csv",
    "tsv",
    "folder",
    "folder, metadata.jsonl",
    "webdataset",
    "jsonl",
    "parquet",
    "coco",
    "karpathy",
    "flickr",
    "docarray, lz4",
)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_reads_the_same_pictures(finetune: Command, tmp_path: Path, name: str) -> None:
    pictures = twelve_pictures(tmp_path)
    data = ALL_FORMATS[name](tmp_path, pictures)
    ended = finetune(tmp_path, "init", "--data", data)
    assert ended.code == 0, ended.err
    run = load_run(tmp_path / "run.yaml")
    source = run.spec.data.source
    assert source is not None
    assert source.format == name.partition(",")[0]
    split, _ = measured(uri_to_path(source.uri), **source.model_dump(exclude={"uri"}))
    assert [image.captions[-1] for image in split.images] == [picture.captions[-1].strip() for picture in pictures]
    assert f"{source.format}, 12 pictures" in ended.out


def test_splits_columns_and_the_folder_of_pictures_are_found(finetune: Command, tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "set" / "Images", 12)
    (tmp_path / "set" / "text").mkdir()
    rows = "".join(
        f"{split},{picture.name},{caption!r}\n"
        for picture, split in zip(pictures, SPLITS, strict=True)
        for caption in picture.captions
    )
    table = "Fold,File Name,Alt Text\n" + rows.replace("'", '"')
    (tmp_path / "set" / "text" / "table.csv").write_text(table)
    (tmp_path / "runs").mkdir()
    ended = finetune(tmp_path, "init", "-d", "set/text/table.csv", "-o", "runs/first.yaml")
    assert (ended.code, ended.err) == (0, "")
    text = (tmp_path / "runs" / "first.yaml").read_text()
    assert "uri: ../set/text/table.csv" in text
    assert 'columns: {image: "File Name", caption: "Alt Text"}' in text
    assert "images: ../set/Images/" in text
    data = load_run(tmp_path / "runs" / "first.yaml").spec.data
    dataset = prepared(data, tmp_path)
    assert [len(split.images) for split in (dataset.train, dataset.validation, dataset.test)] == [6, 2, 4]


def test_pictures_that_are_nowhere_are_asked_for(finetune: Command, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"image": "no.jpg", "caption": "x\\u2028: # y"}\n')
    ended = finetune(tmp_path, "init", "-d", "a.jsonl")
    assert ended.code == 0
    assert "the pictures were not found, such as no.jpg: set `images` in run.yaml" in ended.err
    assert "# images: the folder" in (tmp_path / "run.yaml").read_text()
    load_run(tmp_path / "run.yaml")


@pytest.mark.parametrize("name", ["a: b #c.csv", "true.csv", "100 %.csv", "-x.csv", "'\"é.csv"])
def test_odd_names_survive(finetune: Command, tmp_path: Path, name: str) -> None:
    pictures = make_pictures(tmp_path / "pictures", 2)
    write_table(tmp_path / name, pictures)
    ended = finetune(tmp_path, "init", f"--data={name}")
    assert ended.code == 0, ended.err
    source = load_run(tmp_path / "run.yaml").spec.data.source
    assert source is not None
    assert uri_to_path(source.uri) == tmp_path / name


def test_a_bucket_is_looked_at_too(finetune: Command, tmp_path: Path, minio_server: S3Server) -> None:
    pictures = make_pictures(tmp_path / "set" / "pictures", 4)
    more.write_coco(tmp_path / "set" / "a.json", pictures)
    uri = minio_server.scratch()
    store = open_store(uri, minio_server.credentials)
    for path in (tmp_path / "set").rglob("*.*"):
        store.write_file(path.relative_to(tmp_path / "set").as_posix(), path)
    ended = finetune(tmp_path, "init", "-d", f"{uri}/a.json", **minio_server.environment)
    assert ended.code == 0, ended.err
    assert "coco, 4 pictures, 2.0 captions each" in ended.out
    source = load_run(tmp_path / "run.yaml").spec.data.source
    assert source is not None
    assert source.uri == f"{uri}/a.json"


REFUSED = {
    "a file that is there": ("a.csv", 2, "run.yaml is there already and is not overwritten: give another file with -o"),
    "no data": ("no.csv", 65, "data.source.uri: nothing is stored at"),
    "pictures alone": ("pictures", 65, "holds pictures and no captions: found 2 .jpg"),
    "no captions": ("bare.csv", 65, "known to hold the caption; its columns are image, words"),
}


@pytest.mark.parametrize(("data", "code", "told"), REFUSED.values(), ids=REFUSED)
def test_refused(finetune: Command, tmp_path: Path, data: str, code: int, told: str) -> None:
    pictures: list[Picture] = make_pictures(tmp_path / "pictures", 2)
    write_table(tmp_path / "a.csv", pictures)
    (tmp_path / "bare.csv").write_text("image,words\na,b\n")
    if code == 2:
        (tmp_path / "run.yaml").write_text("mine")
    ended = finetune(tmp_path, "init", "-d", data)
    assert ended.code == code
    assert told in ended.err
    assert (tmp_path / "run.yaml").exists() == (code == 2)
    if code == 2:
        assert (tmp_path / "run.yaml").read_text() == "mine"
