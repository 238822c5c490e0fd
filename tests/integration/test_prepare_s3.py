"""Data in a bucket: the same split as from files, whatever its format, and a table there may point anywhere in it."""

from pathlib import Path
from typing import Any

import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Store, open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.prepare import prepare_test
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.progress import Silent
from tests.support.minio import S3Server
from tests.support.pictures import Picture, make_pictures, write_folder, write_table, write_webdataset

PREPROCESS = Preprocess((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "shortest")


def split_of(uri: str, server: S3Server, cache: Path, **values: object) -> Split:
    def stores(at: str) -> Store:
        return open_store(at, server.credentials)

    source = DataSource.model_validate({"uri": uri, **values})
    return prepare_test(source, PREPROCESS, cache_root=cache, stores=stores, progress=Silent())[0]


def upload(folder: Path, uri: str, server: S3Server) -> None:
    """Copies all that lies below `folder`."""
    store = open_store(uri, server.credentials)
    for path in folder.rglob("*"):
        if path.is_file():
            store.write_file(path.relative_to(folder).as_posix(), path)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    return make_pictures(tmp_path / "set" / "pictures", 14)


FORMATS = {
    "csv": (lambda folder, pictures: write_table(folder / "a.csv", pictures), "a.csv"),
    "folder": (lambda folder, pictures: write_folder(folder / "beside", pictures), "beside"),
    "webdataset": (lambda folder, pictures: write_webdataset(folder / "wds" / "test", pictures), "wds/"),
    "a pattern": (lambda folder, pictures: write_webdataset(folder / "wds", pictures), "wds/{0..1}.tar"),
}


@pytest.mark.parametrize(("write", "name"), FORMATS.values(), ids=FORMATS)
def test_a_set_in_a_bucket_is_the_set_in_files(
    tmp_path: Path, minio_server: S3Server, pictures: list[Picture], write: Any, name: str
) -> None:
    write(tmp_path / "set", pictures)
    uri = minio_server.scratch()
    upload(tmp_path / "set", uri, minio_server)
    local = split_of(f"{path_to_uri(tmp_path / 'set')}/{name}", minio_server, tmp_path / "cache")
    remote = split_of(f"{uri}/{name}", minio_server, tmp_path / "cache")
    assert remote.images == local.images


def test_a_tables_pictures_may_lie_elsewhere_in_the_bucket(
    tmp_path: Path, minio_server: S3Server, pictures: list[Picture]
) -> None:
    uri = minio_server.scratch()
    upload(tmp_path / "set", uri, minio_server)
    names = [picture.name for picture in pictures]
    cells = [f"{uri}/pictures/{names[0]}", f"../pictures/{names[1]}", "no.jpg"]
    table = "image,caption\n" + "".join(f"{cell},a caption\n" for cell in cells)
    open_store(uri, minio_server.credentials).write("tables/a.csv", table.encode())
    with pytest.raises(DataInvalid, match=rf"1 of 3 rows[^\n]*\n  a.csv:4: missing-image: {uri}/tables/no.jpg is not"):
        split_of(f"{uri}/tables/a.csv", minio_server, tmp_path / "cache")


def test_images_are_looked_up_below_their_own_uri(
    tmp_path: Path, minio_server: S3Server, pictures: list[Picture]
) -> None:
    uri = minio_server.scratch()
    upload(tmp_path / "set" / "pictures", f"{uri}/images", minio_server)
    table = write_table(tmp_path / "set" / "pictures" / "a.csv", pictures)
    split = split_of(path_to_uri(table), minio_server, tmp_path / "cache", images=f"{uri}/images/")
    assert len(split.images) == 14


def test_nothing_in_the_bucket_is_said_with_its_uri(tmp_path: Path, minio_server: S3Server) -> None:
    uri = minio_server.scratch()
    with pytest.raises(DataInvalid, match=rf"data.test.uri: nothing is stored at {uri}/no.csv"):
        split_of(f"{uri}/no.csv", minio_server, tmp_path)
