"""Config files with values that no model has: named by file and key, whatever the libraries would raise."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.factory import get_model_config, list_models
from open_clip.pretrained import get_pretrained_cfg, list_pretrained

from finetune_sdk.api.model import Model
from finetune_sdk.errors import WeightsInvalid
from finetune_sdk.storage import open_store
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.config_files import check_model_config, checked_preprocess
from finetune_trainer.model.load import load_model
from tests.support.models import Kind, tiny_bert_dir, tiny_open_clip_dir, tiny_timm_dir

CONFIG = "open_clip_config.json"


def loaded(spec: dict[str, Any], cache: Path) -> ClipModel:
    made = Model.model_validate(spec)
    return load_model(made, stores=open_store, cache_root=cache, device=torch.device("cpu"), seed=0)


def set_in(path: Path, place: str, value: object) -> None:
    """Set the value at keys that dots separate."""
    document = json.loads(path.read_text())
    *outer, last = place.split(".")
    part = document
    for key in outer:
        part = part[key]
    part[last] = value
    path.write_text(json.dumps(document))


MALFORMED: dict[str, tuple[Kind, str, object, str]] = {
    "one mean": ("clip", "preprocess_cfg.mean", 0.5, "is 0.5: it must be three numbers, one a channel"),
    "means that are words": ("clip", "preprocess_cfg.mean", ["a", "b", "c"], "is ['a', 'b', 'c']: it must be three"),
    "two deviations": ("clip", "preprocess_cfg.std", [0.5, 0.5], "is [0.5, 0.5]: it must be three numbers above 0"),
    "a deviation of 0": ("clip", "preprocess_cfg.std", [0.5, 0.5, 0], "is [0.5, 0.5, 0]: it must be three numbers a"),
    "a mean that is infinite": ("clip", "preprocess_cfg.mean", [0, 0, float("inf")], "is [0, 0, inf]: it must be"),
    "a list of preprocessing": ("clip", "preprocess_cfg", [1], "is [1]: it must be an object"),
    "grey pictures": ("clip", "preprocess_cfg.mode", "L", "is 'L': it must be RGB"),
    "an interpolation": ("clip", "preprocess_cfg.interpolation", "area", "is 'area': it must be bicubic or bilinear"),
    "a resize mode": ("clip", "preprocess_cfg.resize_mode", "pad", "is 'pad': it must be shortest, longest or squash"),
    "three fill colours": ("clip", "preprocess_cfg.fill_color", [0, 0, 0], "is [0, 0, 0]: it must be a whole number"),
    "patches of 0": ("clip", "model_cfg.vision_cfg.patch_size", 0, "is 0: it must be a whole number of pixels above 0"),
    "heads of 0": ("clip", "model_cfg.text_cfg.heads", 0, "is 0: it must be a whole number above 0"),
    "three sides": ("composed", "model_cfg.vision_cfg.image_size", [64, 64, 3], "is [64, 64, 3]: it must be a whole"),
    "three stages": ("resnet", "model_cfg.vision_cfg.layers", [1, 1, 1], "is [1, 1, 1]: it must be a whole number"),
    "a context of words": ("hf-text", "model_cfg.text_cfg.context_length", "abc", "is 'abc': it must be a whole"),
    "no width": ("clip", "model_cfg.embed_dim", None, "is None: it must be a whole number above 0"),
    "tokenizer options": ("clip", "model_cfg.text_cfg.tokenizer_kwargs", "abc", "is 'abc': it must be an object"),
    "an option that no tokenizer has": (
        "clip",
        "model_cfg.text_cfg.tokenizer_kwargs",
        {"foo": 1},
        "is {'foo': 1}, of which open_clip makes no tokenizer: ",
    ),
    "a way to clean that there is not": (
        "hf-text",
        "model_cfg.text_cfg.tokenizer_kwargs",
        {"clean": "foo"},
        "is {'clean': 'foo'}, of which open_clip makes no tokenizer: Invalid clean function (foo)",
    ),
}


@pytest.mark.parametrize(("kind", "place", "value", "told"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_config_is_named_by_file_and_key(
    tmp_path: Path, kind: Kind, place: str, value: object, told: str
) -> None:
    folder = tiny_open_clip_dir(tmp_path / "m", kind)
    set_in(folder / CONFIG, place, value)
    with pytest.raises(WeightsInvalid) as refused:
        loaded({"weights": {"uri": folder.as_uri()}}, tmp_path / "cache")
    assert f"{place} {told}" in str(refused.value)
    assert str(refused.value).startswith(folder.as_uri())


UNBUILDABLE: dict[str, tuple[str, object, str]] = {
    "heads that do not divide the width": ("model_cfg.text_cfg.heads", 3, "CLIP: embed_dim must be divisible by"),
    "a pool by a wrong name": ("model_cfg.text_cfg.pool_type", "foo", "CLIP: AssertionError"),
    "a number for an object": ("model_cfg.vision_cfg.norm_kwargs", 5, "CLIP: "),
    "a list for a name": ("model_cfg.vision_cfg.timm_model_name", ["a"], "CLIP: "),
}


@pytest.mark.parametrize(("place", "value", "told"), UNBUILDABLE.values(), ids=UNBUILDABLE)
def test_what_no_module_can_be_built_of_is_told(tmp_path: Path, place: str, value: object, told: str) -> None:
    folder = tiny_open_clip_dir(tmp_path / "m")
    set_in(folder / CONFIG, place, value)
    with pytest.raises(WeightsInvalid) as refused:
        loaded({"weights": {"uri": folder.as_uri()}}, tmp_path / "cache")
    assert f"{folder.as_uri()}: model_cfg cannot be built by open_clip's {told}" in str(refused.value)


def test_nulls_and_keys_of_others_are_no_values(tmp_path: Path) -> None:
    folder = tiny_open_clip_dir(tmp_path / "m")
    usual = loaded({"weights": {"uri": folder.as_uri()}}, tmp_path / "cache").preprocess
    for key, value in {"mean": None, "fill_color": None, "size": "any", "crop": 1}.items():
        set_in(folder / CONFIG, f"preprocess_cfg.{key}", value)
    assert loaded({"weights": {"uri": folder.as_uri()}}, tmp_path / "cache").preprocess == usual
    set_in(folder / CONFIG, "preprocess_cfg", None)
    assert loaded({"weights": {"uri": folder.as_uri()}}, tmp_path / "cache").preprocess == usual


def towers(folder: Path) -> dict[str, Any]:
    image = {"timm": "test_efficientnet", "uri": tiny_timm_dir(folder / "i").as_uri()}
    text = {"huggingface": "tiny/bert", "uri": tiny_bert_dir(folder / "t").as_uri()}
    return {"towers": {"image": image, "text": text, "embedDim": 8}}


TOWERS: dict[str, tuple[str, str, object, str]] = {
    "one mean of timm's": ("i", "pretrained_cfg.mean", 0.5, "is 0.5: it must be three numbers"),
    "a size of timm's": ("i", "pretrained_cfg.input_size", "224", "is '224': it must be channels, height and width"),
    "a list of timm's": ("i", "pretrained_cfg", [1], "is [1]: it must be an object"),
    "no positions": ("t", "max_position_embeddings", None, "is None: it must be a whole number of tokens above 0"),
    "a family that is a list": ("t", "model_type", ["bert"], "['bert'] is not a text tower"),
}


@pytest.mark.parametrize(("folder", "place", "value", "told"), TOWERS.values(), ids=TOWERS)
def test_a_towers_malformed_config_is_named(tmp_path: Path, folder: str, place: str, value: object, told: str) -> None:
    spec = towers(tmp_path)
    set_in(tmp_path / folder / "config.json", place, value)
    with pytest.raises(WeightsInvalid) as refused:
        loaded(spec, tmp_path / "cache")
    assert told in str(refused.value)
    assert "config.json: " in str(refused.value)


def test_every_architecture_and_tag_of_open_clips_passes() -> None:
    for name in list_models():
        check_model_config(get_model_config(name), name)
    for name, tag in list_pretrained():
        checked_preprocess(get_pretrained_cfg(name, tag), f"{name}:{tag}")
