"""open_clip's modules from a config, without network, log lines or ambient randomness.

open_clip's own factory reads weights as it builds, falls back to the network and reports what went wrong in its log only.
Here the module is made of the same classes; weights come later, checked.
"""

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import nn

from finetune_sdk.errors import WeightsInvalid
from finetune_trainer.model.clip import Preprocess

HERE = "."
"""`hf_model_name` of a text tower whose Hugging Face config lies in the model's own folder."""


def build_module(config: dict[str, Any], preprocess: dict[str, Any], folder: Path | None, seed: int) -> nn.Module:
    """The module of an open_clip `model_cfg` in float32, in eval mode, randomly initialised from `seed`.

    `folder` holds the text tower's Hugging Face config.json where there is one; without it the name in the config is looked up.
    `preprocess` is attached as open_clip's factory does, its size taken from the image tower.
    Raises WeightsInvalid where the config fits none of open_clip's classes.
    """
    arguments = deepcopy(config)
    text, vision = arguments["text_cfg"], arguments["vision_cfg"]
    custom_text = arguments.pop("custom_text", False) or "hf_model_name" in text
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
        if folder is not None and (folder / "config.json").is_file():
            text["hf_model_name"] = str(folder)
    kind = CoCa if custom_text and "multimodal_cfg" in arguments else CustomTextCLIP if custom_text else CLIP
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: nn.Module = kind(**arguments)
    except (AssertionError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsInvalid(f"the model config cannot be built by open_clip {kind.__name__}: {error}") from error
    complete = merge_preprocess_dict(PreprocessCfg(), preprocess) | {"size": module.visual.image_size}
    set_model_preprocess_cfg(module, complete)
    return module.float().eval()


def preprocess_of(module: nn.Module) -> Preprocess:
    """What open_clip attached to the image tower, typed. Raises WeightsInvalid for a mode that evaluation cannot repeat."""
    config = PreprocessCfg(**module.visual.preprocess_cfg)  # type: ignore[union-attr, arg-type]
    height, width = config.input_size[1:]
    if config.interpolation not in ("bicubic", "bilinear"):
        raise WeightsInvalid(f"preprocess_cfg.interpolation is {config.interpolation!r}: use bicubic or bilinear")
    if config.resize_mode not in ("shortest", "longest", "squash"):
        raise WeightsInvalid(f"preprocess_cfg.resize_mode is {config.resize_mode!r}: use shortest, longest or squash")
    mean, std = (tuple(float(part) for part in values) for values in (config.mean, config.std))
    if len(mean) != 3 or len(std) != 3:
        raise WeightsInvalid(f"preprocess_cfg holds {len(mean)} means and {len(std)} deviations: 3 channels are needed")
    return Preprocess(
        size=(int(height), int(width)),
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation=config.interpolation,
        resize_mode=config.resize_mode,
        fill_color=int(config.fill_color),
    )


def preprocess_document(preprocess: Preprocess) -> dict[str, Any]:
    """The same as open_clip_config.json's `preprocess_cfg`."""
    return {"mode": "RGB", **asdict(preprocess)}
