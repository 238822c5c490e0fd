"""`images`, the folder that paths count from: in each format it takes effect, or is refused by its name."""

from pathlib import Path

import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.formats import open_rows
from finetune_trainer.data.types import BadRow
from tests.support.all_formats import ALL_FORMATS, Write
from tests.support.pictures import make_pictures, write_folder

NAME_NO_RELATIVE_PATHS = {
    "folder",
    "folder, CRLF",
    "webdataset",
    "webdataset, json",
    "CLIP Benchmark",
    "parquet",
    "parquet, bytes",
    "parquet, paths",  # all of them absolute
    "parquet, a pattern",
    "docarray, json",
    "docarray",
    "docarray, gzip",
    "docarray, lz4",
}


def lost(path: Path, images: Path) -> set[str]:
    """What is said of the pictures that are not in `images`."""
    spec = DataSource(uri=path_to_uri(path), images=path_to_uri(images))
    kinds = set()
    for row in open_rows("data.train", spec, open_store).read():
        with pytest.raises(BadRow) as bad:
            row.load()
        kinds.add(bad.value.kind)
    return kinds


@pytest.mark.parametrize(("name", "write"), ALL_FORMATS.items(), ids=ALL_FORMATS)
def test_it_takes_effect_or_is_refused(tmp_path: Path, name: str, write: Write) -> None:
    path = write(tmp_path, make_pictures(tmp_path / "pictures", 4))
    if name not in NAME_NO_RELATIVE_PATHS:
        assert lost(path, tmp_path / "empty") == {"missing-image"}
        return
    with pytest.raises(DataInvalid) as refused:
        lost(path, tmp_path / "empty")
    told = f"data.train.images: relative paths count from {path_to_uri(tmp_path / 'empty')}, and "
    assert str(refused.value).startswith(told)
    assert str(refused.value).endswith("names none: leave it out")


def test_an_option_is_called_as_it_was_typed(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "beside", make_pictures(tmp_path / "pictures", 2))
    spec = DataSource(uri=path_to_uri(path), images="s3://bucket/pictures")
    with pytest.raises(DataInvalid, match=r"^--images: relative paths count from s3://bucket/pictures, and "):
        open_rows("--data", spec, open_store)
