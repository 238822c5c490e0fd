"""`columns` beside data that has no such column: what would do nothing is refused by its name."""

from pathlib import Path

import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.formats import open_rows
from tests.support.all_formats import ALL_FORMATS
from tests.support.pictures import make_pictures

NOT_READ = {
    "folder": ("image", "caption", "group"),
    "flickr": ("image", "caption", "group"),
    "flickr, bars": ("image", "caption", "group"),
    "webdataset": ("image",),
    "docarray": ("image",),
    "docarray, json": ("image",),
    "coco": ("caption",),
}
CASES = [(name, role) for name, roles in NOT_READ.items() for role in roles]


@pytest.mark.parametrize(("name", "role"), CASES, ids=str)
def test_a_column_that_the_format_does_not_have_is_refused(tmp_path: Path, name: str, role: str) -> None:
    path = ALL_FORMATS[name](tmp_path, make_pictures(tmp_path / "pictures", 2))
    spec = DataSource.model_validate({"uri": path_to_uri(path), "columns": {role: "words"}})
    with pytest.raises(DataInvalid) as refused:
        open_rows("data.train", spec, open_store)
    assert str(refused.value).startswith(f"data.train.columns.{role}: {path_to_uri(path)} is read as ")
    assert str(refused.value).endswith(f", which has no name for its {role}: leave it out")


@pytest.mark.parametrize("name", NOT_READ)
def test_splits_may_be_followed_all_the_same(tmp_path: Path, name: str) -> None:
    path = ALL_FORMATS[name](tmp_path, make_pictures(tmp_path / "pictures", 2))
    spec = DataSource.model_validate({"uri": path_to_uri(path), "columns": {"split": "split"}})
    assert len(list(open_rows("data.source", spec, open_store).read())) == 2
