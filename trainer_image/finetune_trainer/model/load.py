"""spec.model to a model: by tag, from storage, at random, or composed of two towers."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from finetune_sdk.api.model import Model
from finetune_sdk.errors import InvalidSpec, WeightsInvalid
from finetune_sdk.storage.base import Entry, Store
from finetune_trainer.model import hub
from finetune_trainer.model.architectures import (
    architecture_config,
    differences,
    name_of,
    tag_config,
    usual_preprocess,
)
from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.build import HERE, read_json
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.composed import compose
from finetune_trainer.model.config_files import check_model_config, checked_preprocess
from finetune_trainer.model.fetch import Stores, direct_entries, fetch, find_object, split_uri
from finetune_trainer.model.save import CONFIG, TEXT_FILES
from finetune_trainer.model.weights import REFUSED, SUFFIXES, load_into, read_weights

_PREFERRED = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
"""open_clip's order for `local-dir:`."""


def load_model(spec: Model, *, stores: Stores, cache_root: Path, device: torch.device, seed: int) -> ClipModel:
    """The model of `spec.model` in float32, in eval mode, on `device`; what is random is drawn from `seed`.

    Raises InvalidSpec for names and tags that open_clip lacks and for combinations that make no sense, WeightsInvalid
    for weights that are broken, unsafe or of another architecture, StorageUnavailable for weights out of reach.
    """
    if spec.towers is not None:
        return compose(spec.towers, stores=stores, cache_root=cache_root, device=device, seed=seed)
    if spec.weights is not None and spec.weights.uri is not None:
        return _from_uri(spec.name, spec.weights.uri, stores, cache_root, device, seed)
    if spec.name is None or spec.weights is None:
        raise InvalidSpec("model: give name and weights, or weights.uri of a model with its own config, or towers")
    if spec.weights.tag is not None:
        return _from_tag(spec.name, spec.weights.tag, device, seed)
    config = architecture_config(spec.name)
    return assemble(
        config,
        usual_preprocess(spec.name),
        name=spec.name,
        source="random",
        files=hub_files(spec.name, "TAG", config),
        seed=seed,
        device=device,
    )


def hub_files(name: str, tag: str, config: dict[str, Any]) -> Path | None:
    """The Hugging Face files that a built-in architecture names: tokenizer and, where it has one, text tower's config.

    They come from the hub or its cache: see hub.fetch_folder for what is raised. `tag` is for its advice.
    """
    text = config["text_cfg"]
    repository = text.get("hf_model_name") or text.get("hf_tokenizer_name")
    if not repository:
        return None
    return hub.fetch_folder(repository, f"model.name: {name}", hub.mirrored(f"{name}:{tag}"), weights=False)


def _from_tag(name: str, tag: str, device: torch.device, seed: int) -> ClipModel:
    config, entry = architecture_config(name), tag_config(name, tag)
    path = hub.fetch_tag(name, tag, entry)
    source = f"tag {tag!r} of {name}"
    load = partial(load_into, state=read_weights(path, source), source=source, resize=True)
    files = hub_files(name, tag, config)
    return assemble(config, entry, name=name, source=tag, files=files, load=load, seed=seed, device=device)


def _from_uri(
    name: str | None, uri: str, stores: Stores, cache_root: Path, device: torch.device, seed: int
) -> ClipModel:
    store, config_entry, weights_entry = _locate(uri, stores)
    own = None if config_entry is None else read_json(fetch(store, [config_entry], cache_root) / CONFIG)
    config, preprocess = _described(name, own, uri)
    files = _text_files(config, store, cache_root) if own is not None else hub_files(str(name), "TAG", config)
    source = store.uri_of(weights_entry.key)
    state = read_weights(fetch(store, [weights_entry], cache_root) / weights_entry.key, source)
    return assemble(
        config,
        preprocess,
        name=name or name_of(config) or _own_name(config),
        source=uri,
        files=files,
        load=partial(load_into, state=state, source=source),
        seed=seed,
        device=device,
    )


def _locate(uri: str, stores: Stores) -> tuple[Store, Entry | None, Entry]:
    """The store with weights, its open_clip_config.json where there is one, and the weights' entry."""
    suffix = Path(split_uri(uri)[1]).suffix
    if suffix in REFUSED:
        raise WeightsInvalid(f"{uri}: {suffix} files are not read as weights; convert them to safetensors")
    found = find_object(uri, stores)
    if found is not None:
        store, entry = found
        return store, store.stat(CONFIG), entry
    if suffix in SUFFIXES:
        raise WeightsInvalid(f"{uri}: there is no such file; check model.weights.uri")
    store = stores(uri.rstrip("/"))
    if store.stat(CONFIG) is None and store.stat(f"model/{CONFIG}") is not None:  # the root of a run's output
        store = stores(f"{uri.rstrip('/')}/model")
    return store, store.stat(CONFIG), _weights_entry(store)


def _weights_entry(store: Store) -> Entry:
    by_name = {entry.key: entry for entry in direct_entries(store) if entry.key.endswith(SUFFIXES)}
    for name in _PREFERRED:
        if name in by_name:
            return by_name[name]
    if len(by_name) == 1:
        return next(iter(by_name.values()))
    if not by_name:
        raise WeightsInvalid(
            f"{store.uri} holds no weights: give an open_clip directory, a run's output, or a file of "
            f"{', '.join(SUFFIXES)}"
        )
    raise WeightsInvalid(
        f"{store.uri} holds {len(by_name)} files of weights ({', '.join(sorted(by_name)[:3])}): name one"
    )


def _described(name: str | None, own: dict[str, Any] | None, uri: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """model_cfg and preprocess_cfg: the weights' own, else those of the architecture that the spec names."""
    if own is None:
        if name is None:
            raise InvalidSpec(f"model.name: {uri} holds no {CONFIG}, so say which architecture its weights are of")
        return architecture_config(name), usual_preprocess(name)
    config = own.get("model_cfg")
    if not isinstance(config, dict) or not all(isinstance(config.get(key), dict) for key in ("vision_cfg", "text_cfg")):
        raise WeightsInvalid(f"{uri}: {CONFIG} has no model_cfg with vision_cfg and text_cfg")
    check_model_config(config, f"{uri}: {CONFIG}: model_cfg")
    preprocess = checked_preprocess(own.get("preprocess_cfg") or {}, f"{uri}: {CONFIG}: preprocess_cfg")
    if name is not None and (other := differences(config, architecture_config(name))):
        raise InvalidSpec(
            f"model.name: {name} is not what {uri} holds: its {'; '.join(other[:3])}; leave model.name out"
        )
    return config, preprocess


def _text_files(config: dict[str, Any], store: Store, cache_root: Path) -> Path | None:
    """The Hugging Face files that lie beside the weights; the hub's only where a built-in name is all that there is."""
    text = config["text_cfg"]
    if not text.get("hf_tokenizer_name") and not text.get("hf_model_name"):
        return None
    entries = [entry for name in TEXT_FILES if (entry := store.stat(name)) is not None]
    local = fetch(store, entries, cache_root) if entries else None
    needs_config = "hf_model_name" in text
    if local is not None and ((local / "config.json").is_file() or not needs_config):
        return local
    hub_name = text.get("hf_model_name") or text.get("hf_tokenizer_name")
    if hub_name == HERE:
        raise WeightsInvalid(
            f"{store.uri} lacks its text tower's config.json and tokenizer files: copy the whole folder"
        )
    beside = f"put its config.json and tokenizer files beside the weights in {store.uri}"
    return hub.fetch_folder(str(hub_name), f"{store.uri}: text_cfg.hf_model_name", beside, weights=False)


def _own_name(config: dict[str, Any]) -> str:
    both = "timm_model_name" in config["vision_cfg"] and "hf_model_name" in config["text_cfg"]
    return "composed" if both else "custom"
