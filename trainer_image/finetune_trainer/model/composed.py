"""A model of a timm image tower and a Hugging Face text tower: open_clip's CustomTextCLIP with new projections."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from finetune_sdk.api.model import ImageTower, TextTower, Towers
from finetune_sdk.errors import InvalidSpec, WeightsInvalid
from finetune_trainer.model import hub
from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.build import HERE, checked_text_config, read_json
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.config_files import checked_pretrained, positions_of
from finetune_trainer.model.fetch import Stores, fetch, find_object
from finetune_trainer.model.save import TEXT_FILES
from finetune_trainer.model.weights import check_fit, read_weights

MAX_CONTEXT = 77
"""Tokens of a caption: as many as CLIP has, since attention's cost grows with padding too."""
FAMILIES = ("bert", "roberta", "xlm-roberta")
"""Encoders that open_clip's HFTextEncoder runs whole; its other families are halves of encoder-decoders."""
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Trunk:
    """One pretrained tower, without a projection."""

    config: dict[str, Any]
    """Its part of open_clip's model_cfg."""
    state: dict[str, Tensor]
    source: str
    folder: Path | None = None
    preprocess: dict[str, Any] | None = None


def compose(towers: Towers, *, stores: Stores, cache_root: Path, device: torch.device, seed: int) -> ClipModel:
    """Both trunks with their pretrained weights, and a linear projection of each onto `embed_dim`, drawn from `seed`.

    Raises InvalidSpec for a name that timm lacks, WeightsInvalid for weights that do not fit, StorageUnavailable.
    """
    image = image_trunk(towers.image, stores, cache_root)
    text = text_trunk(towers.text, stores, cache_root)
    config = {
        "embed_dim": towers.embed_dim,
        "vision_cfg": image.config,
        "text_cfg": text.config,
        "custom_text": True,
    }

    def load(module: nn.Module) -> None:
        load_image_trunk(module.get_submodule("visual.trunk"), image)
        load_text_trunk(module.get_submodule("text.transformer"), text)

    return assemble(
        config,
        image.preprocess or {},
        name="composed",
        source="composed",
        files=text.folder,
        load=load,
        seed=seed,
        device=device,
    )


def image_trunk(spec: ImageTower, stores: Stores, cache_root: Path) -> Trunk:
    """The timm tower: config.json and model.safetensors of a folder, a weights file alone, or what timm publishes."""
    name = spec.timm.partition(".")[0]
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        meant = f"did you mean {', '.join(near)}?" if near else "`timm.list_models()` lists them"
        raise InvalidSpec(f"model.towers.image.timm: {spec.timm!r} is not a model of timm's; {meant}")
    published: Any = timm.get_pretrained_cfg(spec.timm, allow_unregistered=True)
    defaults: dict[str, Any] = published.to_dict() if published is not None else {}
    if spec.uri is not None:
        folder, file, source = _fetched(spec.uri, "model.towers.image.uri", stores, cache_root)
    elif defaults.get("hf_hub_id"):
        folder = hub.fetch_folder(defaults["hf_hub_id"], "model.towers.image.timm", weights=True)
        file, source = folder / WEIGHTS, defaults["hf_hub_id"]
    else:
        raise WeightsInvalid(f"model.towers.image: timm publishes no weights for {spec.timm}; set its uri")
    own = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    _check_architecture(own, name, source)
    said = checked_pretrained(own.get("pretrained_cfg") or {}, f"{source}: config.json: pretrained_cfg")
    pretrained = defaults | said
    size = [int(side) for side in pretrained.get("input_size", (3, 224, 224))[1:]]
    config = {
        "image_size": size[0] if size[0] == size[1] else size,
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
    }
    return Trunk(config, read_weights(file, source), source, preprocess=_preprocess(pretrained))


def text_trunk(spec: TextTower, stores: Stores, cache_root: Path) -> Trunk:
    """The Hugging Face tower: config.json, model.safetensors and tokenizer of a folder, or of the hub."""
    if spec.uri is not None:
        field = "model.towers.text.uri"
        folder, file, source = _fetched(spec.uri, field, stores, cache_root)
    else:
        field = "model.towers.text.huggingface"
        folder = hub.fetch_folder(spec.huggingface, field, weights=True)
        file, source = folder / WEIGHTS, spec.huggingface
    if not (folder / "config.json").is_file():
        needed = f"config.json, {WEIGHTS} and the tokenizer's files"
        raise WeightsInvalid(f"{field}: {source} brings no config.json: give the uri of a folder with {needed}")
    config = read_json(checked_text_config(folder, source))
    family = config["model_type"]
    if family not in FAMILIES:
        raise WeightsInvalid(f"{source}: a {family!r} cannot be a text tower here; {', '.join(FAMILIES)} can")
    tower = {
        "hf_model_name": spec.huggingface if spec.uri is None else HERE,
        "hf_tokenizer_name": spec.huggingface if spec.uri is None else HERE,
        "hf_model_pretrained": False,
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "linear",
        "context_length": min(MAX_CONTEXT, positions_of(config, f"{source}: config.json")),
    }
    return Trunk(tower, read_weights(file, source), source, folder=folder)


def load_image_trunk(trunk: nn.Module, image: Trunk) -> None:
    """Load a timm network's weights, less its classifier. Raises WeightsInvalid."""
    network: Any = trunk
    _check_size(network, image)
    expected = trunk.state_dict()
    heads = network.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    dropped = tuple(f"{head}." for head in heads)
    given = {name: value for name, value in image.state.items() if name in expected or not name.startswith(dropped)}
    check_fit(expected, given, image.source)
    trunk.load_state_dict(given, strict=False)


def load_text_trunk(transformer: nn.Module, text: Trunk) -> None:
    """Load a Hugging Face encoder's weights, less what mean pooling does not use."""
    expected = transformer.state_dict()
    prefix = f"{getattr(transformer, 'base_model_prefix', '')}."
    renamed = {_modern(name.removeprefix(prefix)): value for name, value in text.state.items()}
    unused = ("pooler.", "cls.", "lm_head.", "classifier.", "qa_outputs.")
    left = ("embeddings.position_ids", "embeddings.token_type_ids")
    given = {
        name: value
        for name, value in renamed.items()
        if name in expected or not (name.startswith(unused) or name in left)
    }
    check_fit(expected, given, text.source)
    transformer.load_state_dict(given, strict=False)


def _check_size(network: Any, image: Trunk) -> None:
    """open_clip builds timm networks for their own input size, which attention over positions cannot leave."""
    fixed = getattr(getattr(network, "patch_embed", None), "img_size", None)
    asked = image.config["image_size"]
    wanted = (asked, asked) if isinstance(asked, int) else tuple(asked)
    if fixed is not None and tuple(fixed) != wanted:
        raise WeightsInvalid(
            f"{image.source}: pretrained_cfg.input_size asks for {wanted} pixels and "
            f"{image.config['timm_model_name']} is built for {tuple(fixed)}; choose timm's name for that size"
        )


def _modern(name: str) -> str:
    """TensorFlow's names of LayerNorm's weights, which BERT's first checkpoints still have."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _fetched(uri: str, field: str, stores: Stores, cache_root: Path) -> tuple[Path, Path, str]:
    """Local folder, weights file and name for messages, of a folder or of a weights file alone.

    Raises WeightsInvalid, naming `field`, for a folder without safetensors.
    """
    found = find_object(uri, stores)
    if found is not None:
        folder = fetch(found[0], [found[1]], cache_root)
        return folder, folder / found[1].key, uri
    store = stores(uri.rstrip("/"))
    entries = [entry for name in (*TEXT_FILES, WEIGHTS) if (entry := store.stat(name)) is not None]
    if WEIGHTS not in [entry.key for entry in entries]:
        raise WeightsInvalid(
            f"{field}: {uri} holds no {WEIGHTS}: give a folder as on the hub, with its weights saved so by "
            "safetensors.torch.save_file"
        )
    folder = fetch(store, entries, cache_root)
    return folder, folder / WEIGHTS, store.uri_of(WEIGHTS)


def _check_architecture(own: dict[str, Any], name: str, source: str) -> None:
    architecture = str(own.get("architecture", name)).partition(".")[0]
    if architecture != name:
        raise WeightsInvalid(f"{source} is a {architecture}, and model.towers.image.timm says {name}: make them agree")
    if arguments := own.get("model_args"):
        named = sorted(arguments) if isinstance(arguments, dict) else arguments
        raise WeightsInvalid(f"{source}: config.json sets model_args {named}, which open_clip cannot pass on to timm")


def _preprocess(pretrained: dict[str, Any]) -> dict[str, Any]:
    """timm's crop modes in open_clip's words. Its crop_pct has none: the whole shorter side is kept."""
    modes = {"center": "shortest", "squash": "squash", "border": "longest"}
    return {
        "mean": tuple(pretrained.get("mean", (0.485, 0.456, 0.406))),
        "std": tuple(pretrained.get("std", (0.229, 0.224, 0.225))),
        "interpolation": pretrained.get("interpolation", "bicubic"),
        "resize_mode": modes.get(str(pretrained.get("crop_mode", "center")), "shortest"),
    }
