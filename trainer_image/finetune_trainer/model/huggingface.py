"""A model as transformers' CLIPModel, with tokenizer and processor: for the open_clip configs that mean the same.

The names of tensors are those of transformers' own conversion of OpenAI's weights.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from open_clip.factory import get_model_config, list_models
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPProcessor, CLIPTokenizer

from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.clip import ClipModel, Preprocess

_VISION_MAY_BE = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "patch_dropout"}
_TEXT_MAY_BE = {"context_length", "width", "heads", "layers", "mlp_ratio"}
_ALSO = {"output_tokens"}
"""Says what else a tower returns, not what it computes."""
_TOP_MAY_BE = {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "custom_text"}
_RESAMPLE = {"bilinear": 2, "bicubic": 3}
"""Pillow's numbers."""

_NAMES = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.proj": "visual_projection.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = ("visual.proj", "text_projection")
_PREFIXES = {
    "visual.transformer.resblocks.": "vision_model.encoder.layers.",
    "transformer.resblocks.": "text_model.encoder.layers.",
    "visual.ln_pre.": "vision_model.pre_layrnorm.",
    "visual.ln_post.": "vision_model.post_layernorm.",
    "ln_final.": "text_model.final_layer_norm.",
}
_INNER = {
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
    ".attn.out_proj.": ".self_attn.out_proj.",
}


def huggingface_architectures() -> tuple[str, ...]:
    """open_clip's built-in architectures that are a CLIPModel, by name."""
    return tuple(sorted(name for name in list_models() if huggingface_misfit(get_model_config(name)) is None))


def huggingface_misfit(config: Mapping[str, Any]) -> str | None:
    """Why open_clip's `model_cfg` is no CLIPModel, "vision_cfg.ls_init_value is 0.0001" say; None where it is one."""
    for key in config:
        if key not in _TOP_MAY_BE:
            return f"it has {key}"
    for tower, defaults, free in (
        ("vision_cfg", asdict(CLIPVisionCfg()), _VISION_MAY_BE | _ALSO),
        ("text_cfg", asdict(CLIPTextCfg()), _TEXT_MAY_BE | _ALSO),
    ):
        for key, value in config[tower].items():
            if key not in free and value != defaults.get(key):
                return f"{tower}.{key} is {value}"
    vision = config["vision_cfg"]
    if isinstance(vision.get("layers", 12), list):
        return "its image tower is a ResNet"
    size = vision.get("image_size", 224)
    return None if isinstance(size, int) or len(set(size)) == 1 else f"its images are not square, but {size}"


def check_huggingface(model: ClipModel) -> None:
    """Raise InvalidSpec for a model that is no CLIPModel, or pictures that no CLIPImageProcessor prepares so."""
    misfit = huggingface_misfit(model.config)
    if misfit is None and model.preprocess.resize_mode == "longest":
        misfit = "its pictures are padded to a square (resize_mode longest)"
    if misfit is not None:
        raise InvalidSpec(
            f"output.exports: {model.name} cannot be a Hugging Face CLIPModel, as {misfit}: remove huggingface, "
            "or begin from a plain vision transformer such as ViT-B-32"
        )


def write_huggingface(model: ClipModel, folder: Path) -> None:
    """Write config, weights, tokenizer and processor for CLIPModel.from_pretrained and CLIPProcessor.from_pretrained.

    The same model gives the same bytes. Call `check_huggingface` before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _config(model).save_pretrained(folder)
    tensors = dict(renamed(model.module.state_dict()))
    save_file(
        {name: tensors[name].contiguous().clone() for name in sorted(tensors)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    tokenizer, images = clip_tokenizer(model.context_length), image_processor(model.preprocess)
    images.save_pretrained(folder)
    processor: Any = CLIPProcessor
    processor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)


def renamed(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """open_clip's tensors under CLIPModel's names, on the CPU; packed attention weights become three."""
    for full_name, value in state.items():
        name, tensor = full_name.removeprefix("text."), value.detach().cpu()
        if name in _NAMES:
            shaped = tensor.T if name in _TRANSPOSED else tensor
            yield _NAMES[name], shaped.reshape(()) if name == "logit_scale" else shaped
            continue
        prefix = next(prefix for prefix in _PREFIXES if name.startswith(prefix))
        theirs = _PREFIXES[prefix] + name.removeprefix(prefix)
        head, packed, kind = theirs.partition(".attn.in_proj_")
        if packed:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                yield f"{head}.self_attn.{letter}_proj.{kind}", part
            continue
        for ours, inner in _INNER.items():
            theirs = theirs.replace(ours, inner)
        yield theirs, tensor


def clip_tokenizer(context_length: int) -> CLIPTokenizer:
    """transformers' form of open_clip's own tokenizer."""
    own = SimpleTokenizer(context_length=context_length)
    start, end = "<|startoftext|>", "<|endoftext|>"
    special = {"<start_of_text>": start, "<end_of_text>": end}
    vocabulary = {special.get(token, token): number for token, number in own.encoder.items()}
    return CLIPTokenizer(vocab=vocabulary, merges=list(own.bpe_ranks), model_max_length=context_length)


def image_processor(preprocess: Preprocess) -> CLIPImageProcessor:
    """transformers' form of the preprocessing."""
    height, width = preprocess.size
    crops = preprocess.resize_mode == "shortest"
    return CLIPImageProcessor(
        size={"shortest_edge": min(height, width)} if crops else {"height": height, "width": width},
        crop_size={"height": height, "width": width},
        do_center_crop=crops,
        resample=_RESAMPLE[preprocess.interpolation],
        image_mean=list(preprocess.mean),
        image_std=list(preprocess.std),
    )


def _config(model: ClipModel) -> CLIPConfig:
    vision = asdict(CLIPVisionCfg()) | model.config["vision_cfg"]
    text = asdict(CLIPTextCfg()) | model.config["text_cfg"]
    shared = {
        "hidden_act": "quick_gelu" if model.config.get("quick_gelu") else "gelu",
        "projection_dim": model.config["embed_dim"],
    }
    return CLIPConfig(
        architectures=["CLIPModel"],
        projection_dim=model.config["embed_dim"],
        text_config=shared
        | {
            "vocab_size": text["vocab_size"],
            "hidden_size": text["width"],
            "intermediate_size": int(text["width"] * text["mlp_ratio"]),
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "max_position_embeddings": text["context_length"],
        },
        vision_config=shared
        | {
            "hidden_size": vision["width"],
            "intermediate_size": int(vision["width"] * vision["mlp_ratio"]),
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": vision["width"] // vision["head_width"],
            "image_size": model.preprocess.size[0],
            "patch_size": vision["patch_size"],
        },
    )
