"""Tiny models of every kind, made here in a second each: no download, random weights.

`tiny_model(kind)` gives a ClipModel, `tiny_open_clip_dir(folder, kind)` the same as an open_clip directory.
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import timm
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertModel

from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.save import write_model

Kind = Literal["clip", "quickgelu", "resnet", "siglip", "coca", "custom-text", "hf-text", "composed"]
KINDS: tuple[Kind, ...] = get_args(Kind)

CONTEXT = 24
WORDS = (
    "an",
    "the",
    "red",
    "green",
    "blue",
    "yellow",
    "cat",
    "dog",
    "bird",
    "car",
    "house",
    "tree",
    "of",
    "on",
    "with",
)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"

_TEXT: dict[str, Any] = {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
_VISION: dict[str, Any] = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
_HF_TEXT: dict[str, Any] = {
    "hf_model_name": ".",
    "hf_tokenizer_name": ".",
    "hf_pooler_type": "mean_pooler",
    "hf_proj_type": "linear",
    "context_length": CONTEXT,
}

CONFIGS: dict[Kind, dict[str, Any]] = {
    "clip": {"embed_dim": 32, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "quickgelu": {"embed_dim": 32, "quick_gelu": True, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "resnet": {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64, "patch_size": None},
        "text_cfg": _TEXT,
    },
    "siglip": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            **_TEXT,
            "vocab_size": 128,
            "hf_tokenizer_name": "tiny",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    },
    "coca": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {
            **_VISION,
            "attentional_pool": True,
            "attn_pooler_heads": 2,
            "attn_pooler_queries": 8,
            "output_tokens": True,
        },
        "text_cfg": {**_TEXT, "context_length": CONTEXT - 1, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**_TEXT, "context_length": CONTEXT - 1, "attn_pooler_heads": 2},
    },
    "custom-text": {"embed_dim": 32, "custom_text": True, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "hf-text": {"embed_dim": 32, "custom_text": True, "vision_cfg": _VISION, "text_cfg": _HF_TEXT},
    "composed": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 64,
            "timm_model_name": "test_efficientnet",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
        },
        "text_cfg": _HF_TEXT,
    },
}
"""open_clip's model_cfg by kind; "composed" holds BatchNorm and dropout."""


def tiny_bert_dir(folder: Path, seed: int = 0) -> Path:
    """A Hugging Face folder as on the hub: config.json, model.safetensors and a WordPiece tokenizer of 92 pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *LETTERS,
        *(f"##{letter}" for letter in LETTERS),
        *WORDS,
    ]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(pieces)) + "\n", encoding="utf-8")
    config = BertConfig(
        vocab_size=128,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        architectures=["BertModel"],
    )
    config.save_pretrained(str(folder))
    AutoTokenizer.from_pretrained(str(folder)).save_pretrained(str(folder))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        save_file(BertModel(config).state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def tiny_timm_dir(folder: Path, seed: int = 0, architecture: str = "test_efficientnet", size: int = 64) -> Path:
    """A timm folder as on the hub: config.json with architecture and pretrained_cfg, weights with a classifier."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = timm.create_model(architecture, pretrained=False)
    pretrained = {
        "input_size": [3, size, size],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "crop_mode": "center",
        "classifier": network.pretrained_cfg["classifier"],
    }
    config = {"architecture": architecture, "num_classes": network.num_classes, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder


def tiny_model(kind: Kind = "clip", seed: int = 0, *, folder: Path | None = None) -> ClipModel:
    """A random model of a kind, on CPU. siglip, hf-text and composed need `folder`, for their tokenizer's files."""
    config = CONFIGS[kind]
    files: Path | None = None
    if "hf_tokenizer_name" in config["text_cfg"]:
        assert folder is not None, f"tiny_model({kind!r}) needs folder= (tmp_path) for its tokenizer's files"
        files = tiny_bert_dir(folder / "tiny-bert")
    return assemble(config, {}, name=f"tiny-{kind}", source="random", files=files, seed=seed)


def tiny_open_clip_dir(folder: Path, kind: Kind = "clip", seed: int = 0) -> Path:
    """An open_clip directory for `local-dir:` (and for model.weights.uri) with random weights."""
    write_model(tiny_model(kind, seed, folder=folder.parent), None, folder)
    return folder
