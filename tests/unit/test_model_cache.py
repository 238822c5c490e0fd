"""The local cache of weights: one that cannot be written is told, with the setting that names another."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from finetune_sdk.api.model import Model
from finetune_sdk.errors import FinetuneError, StorageDenied, StorageUnavailable
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.model.load import load_model
from finetune_trainer.pipeline.hardware import CPU
from finetune_trainer.pipeline.mirror import mirror
from tests.support.models import tiny_open_clip_dir
from tests.support.worlds import a_world


@pytest.fixture
def model(tmp_path: Path) -> Model:
    tiny_open_clip_dir(tmp_path / "base")
    return Model.model_validate({"weights": {"uri": path_to_uri(tmp_path / "base")}})


def test_a_cache_that_is_no_folder_is_told(model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = rf"^the cache folder {tmp_path}/file/cache/weights cannot be used .*: set FINETUNE_CACHE to a folder"
    with pytest.raises(StorageUnavailable, match=told):
        load_model(model, stores=open_store, cache_root=tmp_path / "file/cache", device=CPU, seed=0)
    with pytest.raises(StorageUnavailable, match=rf"^the cache folder {tmp_path}/file/cache cannot be used "):
        mirror("ViT-B-32-quickgelu", "openai", path_to_uri(tmp_path / "copy"), a_world(tmp_path / "file/cache"))


FAILURES: dict[int, tuple[type[FinetuneError], str]] = {
    errno.ENOSPC: (StorageUnavailable, "the disk of the cache folder .*/cache/weights is full: free space there, or"),
    errno.EROFS: (StorageDenied, "the cache folder .*/cache/weights cannot be written .*: allow it, or"),
}


@pytest.mark.parametrize(("code", "told"), FAILURES.items(), ids=["full", "read-only"])
def test_a_copy_that_fails_is_told_and_nothing_of_it_stays(
    model: Model, tmp_path: Path, code: int, told: tuple[type[FinetuneError], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(told[0], match=told[1]):
        load_model(model, stores=open_store, cache_root=tmp_path / "cache", device=CPU, seed=0)
    assert list((tmp_path / "cache/weights").iterdir()) == []
