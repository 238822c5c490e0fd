"""A model as an open_clip directory: everything that re-opens it, by `local-dir:` or by `model.weights.uri`."""

import json
import shutil
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from finetune_trainer.model.build import preprocess_document
from finetune_trainer.model.clip import ClipModel

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
TEXT_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
"""What a Hugging Face tokenizer and text tower's config may consist of."""


def write_model(model: ClipModel, state: Mapping[str, Tensor] | None, folder: Path) -> None:
    """Write config, weights and tokenizer; `state` in place of the module's own weights where it is given.

    The same model gives the same bytes. Files of the same name are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = model.module.state_dict() if state is None else state
    # Cloned: safetensors refuses tensors that share memory, which tied or sliced weights do.
    save_file({name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}, folder / WEIGHTS)
    document = {"model_cfg": _config(model), "preprocess_cfg": preprocess_document(model.preprocess)}
    (folder / CONFIG).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if model.tokenizer_files is not None:
        copy_text_files(model.tokenizer_files, folder)


def copy_text_files(source: Path, folder: Path) -> None:
    """Copy a tokenizer's files, and the text tower's config.json, leaving weights behind."""
    for name in TEXT_FILES:
        if (source / name).is_file() and source / name != folder / name:
            shutil.copyfile(source / name, folder / name)


def _config(model: ClipModel) -> dict[str, Any]:
    config = deepcopy(model.config)
    # As a writer of a standalone folder: nothing may be fetched for a base model that the weights replace anyway.
    for tower, flag, name in (
        ("vision_cfg", "timm_model_pretrained", "timm_model_name"),
        ("text_cfg", "hf_model_pretrained", "hf_model_name"),
    ):
        if name in config[tower]:
            config[tower][flag] = False
    return config
