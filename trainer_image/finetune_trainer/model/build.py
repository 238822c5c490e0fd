"""open_clip's modules from a config, without network, log lines or ambient randomness.

open_clip's own factory reads weights as it builds, falls back to the network and says what went wrong in its log only.
Here the module is made of the same classes; weights come later, checked.
"""

import json
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from open_clip.coca_model import CoCa
from open_clip.hf_configs import arch_dict
from open_clip.model import CLIP, CustomTextCLIP, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import nn

from finetune_sdk.errors import WeightsInvalid
from finetune_trainer.model.adapters import initialise_left_over
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.model.config_files import checked_preprocess

HERE = "."
"""`hf_model_name` of a text tower whose Hugging Face config lies in the model's own folder."""
_REACHING = ("attn_implementation", "_attn_implementation", "experts_implementation", "quantization_config")
"""Settings by which transformers fetches compiled code from the hub."""


def build_module(
    config: dict[str, Any], preprocess: dict[str, Any], folder: Path | None, seed: int, source: str
) -> nn.Module:
    """The module of an open_clip `model_cfg` in float32, in eval mode, randomly initialised from `seed`.

    `folder` holds the Hugging Face config.json of a text tower that has one.
    `preprocess` is attached as open_clip's factory does, its size taken from the image tower.
    Raises WeightsInvalid, naming `source`, where the config fits none of open_clip's classes.
    """
    arguments = deepcopy(config)
    text, vision = arguments["text_cfg"], arguments["vision_cfg"]
    custom_text = arguments.pop("custom_text", False) or "hf_model_name" in text
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text |= {"hf_model_pretrained": False, "hf_model_name": str(checked_text_config(folder, source).parent)}
    kind = CoCa if custom_text and "multimodal_cfg" in arguments else CustomTextCLIP if custom_text else CLIP
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: nn.Module = kind(**arguments)
            initialise_left_over(module)
    except Exception as error:  # what a wrong value raises depends on where three libraries first use it
        why = str(error) or type(error).__name__
        raise WeightsInvalid(f"{source}: model_cfg cannot be built by open_clip's {kind.__name__}: {why}") from error
    visual: Any = module.get_submodule("visual")
    pictures = checked_preprocess(merge_preprocess_dict(PreprocessCfg(), preprocess), f"{source}: preprocess_cfg")
    set_model_preprocess_cfg(module, pictures | {"size": visual.image_size})
    return module.float().eval()


def checked_text_config(folder: Path | None, source: str) -> Path:
    """The config.json of a Hugging Face text tower, once it is known to build without code of its own.

    Raises WeightsInvalid, naming `source`: transformers would ask on standard input whether to run what the folder
    brings along.
    """
    path = (folder or Path(HERE)) / "config.json"
    if folder is None or not path.is_file():
        raise WeightsInvalid(f"{source}: the text tower's config.json is missing: put it beside the weights")
    config = read_json(path)
    family = config.get("model_type")
    if not isinstance(family, str) or family not in arch_dict:
        raise WeightsInvalid(
            f"{source}: {path.name}: model_type {family!r} is not a text tower; {', '.join(arch_dict)} are"
        )
    reaching = [key for key in _REACHING if config.get(key) not in (None, "eager", "sdpa")]
    if reaching:
        raise WeightsInvalid(
            f"{source}: {path.name}: {reaching[0]} may fetch code from the hub; remove it from the file"
        )
    return path


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a file. Raises WeightsInvalid where it is broken, or holds something else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsInvalid(f"{path.name} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise WeightsInvalid(f"{path.name} holds a {type(document).__name__} where an object is needed")
    return document


def preprocess_of(module: nn.Module) -> Preprocess:
    """What `build_module` attached to the image tower, typed."""
    visual: Any = module.get_submodule("visual")
    config = PreprocessCfg(**visual.preprocess_cfg)
    height, width = config.input_size[1:]
    return Preprocess(
        size=(int(height), int(width)),
        mean=config.mean,
        std=config.std,
        interpolation=config.interpolation,
        resize_mode=config.resize_mode,
        fill_color=config.fill_color,
    )


def preprocess_document(preprocess: Preprocess) -> dict[str, Any]:
    """The same as open_clip_config.json's `preprocess_cfg`."""
    return {"mode": "RGB", **asdict(preprocess)}
