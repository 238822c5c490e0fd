"""open_clip's register of architectures and tags: looked up strictly, with the nearest name where nothing fits."""

import difflib
import re
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from functools import cache
from typing import Any

from open_clip.factory import get_model_config, list_models
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import Tensor

from finetune_sdk.errors import InvalidSpec

_SHORT = 8
"""Names that a message lists before it says how many more there are."""
_UNTOLD = ("timm_model_pretrained", "hf_model_pretrained", "hf_tokenizer_name")
"""Parts of a config that do not change what the weights mean."""


def architecture_config(name: str) -> dict[str, Any]:
    """A copy of open_clip's `model_cfg` of a built-in architecture. Raises InvalidSpec with the nearest names."""
    known = list_models()
    # open_clip reads 'hf-hub:' and 'local-dir:' in names too: only plain names are for model.name.
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        meant = f"did you mean {' or '.join(near)}?" if near else "`finetune models` lists them"
        raise InvalidSpec(f"model.name: {name!r} is not one of open_clip's {len(known)} architectures; {meant}")
    config: dict[str, Any] = get_model_config(name)
    return config


def tag_config(name: str, tag: str) -> dict[str, Any]:
    """open_clip's entry of a tag: where its weights are and how pictures are prepared.

    Raises InvalidSpec for a tag that the architecture lacks, and for one whose weights were made with the other
    activation: QuickGELU weights in a GELU model load without a word and lose much of their accuracy.
    """
    config = architecture_config(name)
    entry: dict[str, Any] = get_pretrained_cfg(name, tag)
    if not entry:
        tags = list_pretrained_tags_by_model(name)
        has = f"it has {_some(tags)}" if tags else "it has none: use weights.uri or weights.random"
        raise InvalidSpec(f"model.weights.tag: {tag!r} is not a tag of {name}; {has}")
    made_with = bool(entry.get("quick_gelu", False))
    differs = made_with != bool(config.get("quick_gelu", False))
    # Without a twin the pair is the only one that there is: roberta-ViT-B-32, whose tag open_clip forgot to mark.
    if differs and (right := _same_but_activation(config, made_with)) is not None:
        made, built = ("QuickGELU", "GELU") if made_with else ("GELU", "QuickGELU")
        raise InvalidSpec(
            f"model.weights.tag: {tag!r} was trained with {made} and {name} computes {built}, "
            f"which costs accuracy; set model.name to {right}"
        )
    return entry


def usual_preprocess(name: str) -> dict[str, Any]:
    """The preprocessing that most tags of an architecture share: weights given by file say nothing of their own."""
    entries = [merge_preprocess_dict(PreprocessCfg(), get_pretrained_cfg(name, tag)) for tag in _tags(name)]
    counted = Counter(repr(sorted(entry.items())) for entry in entries)
    if not counted:
        return {}
    most = counted.most_common(1)[0][0]
    return next(entry for entry in entries if repr(sorted(entry.items())) == most)


def name_of(config: Mapping[str, Any]) -> str | None:
    """The built-in architecture that a `model_cfg` is, or None for one of the user's own."""
    return _named(meaning(config))


def differences(config: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Where two `model_cfg` mean different modules: 'vision_cfg.width is 768, not 1024', defaults filled in."""
    ours, theirs = _flat(config), _flat(other)
    return [
        f"{key} is {ours.get(key)}, not {theirs.get(key)}"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]


def meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a `model_cfg` is not open_clip's default, so that a later default changes nothing.

    Equal for configs without `differences`.
    """
    usual = _flat({})
    return {key: value for key, value in _flat(config).items() if value != usual.get(key)}


def likely_architectures(state: Mapping[str, Tensor]) -> list[str]:
    """Built-in architectures whose native towers have these tensors' sizes; [] where the names are not open_clip's."""
    traits = _traits_of_state(state)
    if not traits:
        return []
    return [name for name in list_models() if _traits_of_config(get_model_config(name)) == traits]


def _tags(name: str) -> list[str]:
    tags: list[str] = list_pretrained_tags_by_model(name)
    return tags


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHORT} more" if len(names) > _SHORT else ""
    return ", ".join(names[:_SHORT]) + more


def _same_but_activation(config: Mapping[str, Any], quick_gelu: bool) -> str | None:
    return _named(meaning(dict(config) | {"quick_gelu": quick_gelu}))


def _named(meant: Mapping[str, Any]) -> str | None:
    return next((name for name in list_models() if _built_in(name) == meant), None)


@cache
def _built_in(name: str) -> dict[str, Any]:
    """Kept, as each of more than a hundred is compared with."""
    return meaning(get_model_config(name))


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """One level of keys with open_clip's defaults filled in; whether text is custom follows from the rest."""
    filled = deepcopy(dict(config))
    filled.pop("custom_text", None)
    filled["quick_gelu"] = bool(filled.get("quick_gelu", False))
    for tower, defaults in (("vision_cfg", CLIPVisionCfg), ("text_cfg", CLIPTextCfg)):
        filled[tower] = asdict(defaults()) | filled.get(tower, {})
    flat: dict[str, Any] = {}
    for key, value in filled.items():
        inner = {f"{key}.{name}": part for name, part in value.items()} if isinstance(value, dict) else {key: value}
        flat.update(inner)
    if flat["text_cfg.hf_model_name"]:  # the hub moved models below their owners: 'xlm-roberta-base'
        flat["text_cfg.hf_model_name"] = str(flat["text_cfg.hf_model_name"]).rpartition("/")[2]
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in flat.items()
        if key.rpartition(".")[2] not in _UNTOLD
    }


def _traits_of_state(state: Mapping[str, Tensor]) -> tuple[object, ...]:
    names = {name.removeprefix("text."): name for name in state}
    stem, projection = state.get("visual.conv1.weight"), names.get("text_projection")
    position = names.get("positional_embedding")
    if stem is None or stem.ndim != 4 or projection is None or position is None or state[projection].ndim != 2:
        return ()
    text = (*state[position].shape, _blocks(names, r"transformer\.resblocks\.(\d+)\."), state[projection].shape[1])
    grid = state.get("visual.positional_embedding")
    if grid is None:  # ModifiedResNet: 4 stages
        stages = tuple(_blocks(names, rf"visual\.layer{stage}\.(\d+)\.") for stage in range(1, 5))
        return (stages, 2 * stem.shape[0], *text)
    layers = _blocks(names, r"visual\.transformer\.resblocks\.(\d+)\.")
    return (layers, stem.shape[0], stem.shape[-1], grid.shape[0], *text)


def _traits_of_config(config: Mapping[str, Any]) -> tuple[object, ...]:
    vision, text = config["vision_cfg"], asdict(CLIPTextCfg()) | config["text_cfg"]
    if "timm_model_name" in vision or "hf_model_name" in config["text_cfg"]:
        return ()
    tower = asdict(CLIPVisionCfg()) | vision
    of_text = (text["context_length"], text["width"], text["layers"], config["embed_dim"])
    if isinstance(tower["layers"], list | tuple):
        return (tuple(tower["layers"]), tower["width"], *of_text)
    side = tower["image_size"][0] if isinstance(tower["image_size"], list) else tower["image_size"]
    return (tower["layers"], tower["width"], tower["patch_size"], (side // tower["patch_size"]) ** 2 + 1, *of_text)


def _blocks(names: Mapping[str, str], pattern: str) -> int:
    return len({match[1] for name in names if (match := re.match(pattern, name))})
