"""Shards for CLIP Benchmark: read by its own loader, they give the pictures, captions and order of the split."""

import gc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import open_clip.transform
import pytest
import torch
from clip_benchmark.datasets.builder import build_wds_dataset

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.prepare import prepare_test
from finetune_trainer.data.shards import Sample, samples_of, write_shards
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.progress import Silent
from tests.support.pictures import Picture, encode, make_pictures, write_table, write_webdataset

pytestmark = pytest.mark.filterwarnings(r"ignore:WebDataset\(shardshuffle=...\) is None:UserWarning")
"""CLIP Benchmark's own call."""


def split_of(path: Path, preprocess: Preprocess) -> Split:
    source = DataSource.model_validate({"uri": path_to_uri(path)})
    return prepare_test(source, preprocess, cache_root=path.parent / "cache", stores=open_store, progress=Silent())[0]


def preprocess(mode: str = "shortest", size: tuple[int, int] = (32, 32)) -> Preprocess:
    return Preprocess(size, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7), "bicubic", mode)  # type: ignore[arg-type]


def open_clips(config: Preprocess) -> object:
    return open_clip.transform.image_transform(
        config.size,
        is_train=False,
        mean=config.mean,
        std=config.std,
        resize_mode=config.resize_mode,
        interpolation=config.interpolation,
        fill_color=config.fill_color,
    )


def read_by_clip_benchmark(folder: Path, config: Preprocess) -> list[tuple[torch.Tensor, list[str]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves its last shard open
        read = list(build_wds_dataset("set", open_clips(config), split="test", data_dir=str(folder)))
        gc.collect()
    return read


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_clip_benchmark_sees_the_splits_own_pixels_captions_and_order(tmp_path: Path, mode: Any) -> None:
    made = make_pictures(tmp_path / "pictures", 9)
    pictures = [Picture(made[0].path, ("one, two", "three\u2028four")), *made[1:]]
    config = preprocess(mode)
    split = split_of(write_table(tmp_path / "a.csv", pictures[::-1]), config)
    assert write_shards(samples_of(split), open_store(path_to_uri(tmp_path / "shards")), per_shard=4) == 3
    read = read_by_clip_benchmark(tmp_path / "shards", config)
    assert [tuple(captions) for _, captions in read] == [image.captions for image in split.images]
    mean, std = (np.array(values, np.float32) for values in (config.mean, config.std))
    for index, (pixels, _) in enumerate(read):
        scaled = split.pixels.evaluation(index).astype(np.float32) / 255
        assert torch.equal(pixels, torch.from_numpy((scaled - mean) / std).permute(2, 0, 1))


def test_a_set_given_as_shards_keeps_the_order_in_which_clip_benchmark_reads_it(tmp_path: Path) -> None:
    folder = write_webdataset(tmp_path / "wds" / "test", make_pictures(tmp_path / "pictures", 12), shards=11).parent
    (folder / "dataset_type.txt").write_text("retrieval")
    split = split_of(folder, preprocess())
    read = read_by_clip_benchmark(folder, preprocess())
    assert [tuple(captions) for _, captions in read] == [image.captions for image in split.images]


def test_equal_samples_give_equal_bytes(tmp_path: Path) -> None:
    split = split_of(write_table(tmp_path / "a.csv", make_pictures(tmp_path / "pictures", 4)), preprocess())
    for name in ("one", "two"):
        write_shards(samples_of(split), open_store(path_to_uri(tmp_path / name)))
    one, two = ((tmp_path / name / "test" / "0.tar").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("ending", "caption", "message"), [("gif", "a cat", "not .gif"), ("png", "a\u2028cat", "must be one line")]
)
def test_what_clip_benchmark_would_misread_is_refused(tmp_path: Path, ending: Any, caption: Any, message: str) -> None:
    from PIL import Image

    sample = Sample(encode(Image.new("RGB", (8, 8))), ending, (caption,))
    with pytest.raises(DataInvalid, match=message):
        write_shards([sample], open_store(path_to_uri(tmp_path)))
