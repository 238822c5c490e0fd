"""How large an architecture is, found without weights and arithmetic: by tensors that have no data."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef

from finetune_trainer.model.adapters import tower_of
from finetune_trainer.model.architectures import architecture_config, usual_preprocess
from finetune_trainer.model.build import build_module, preprocess_of
from finetune_trainer.model.tokenizer import context_length_of

PAIRS = (2, 6)
"""Pairs in the two trial batches."""


@dataclass(frozen=True)
class Size:
    """One architecture."""

    image_parameters: int
    text_parameters: int | None
    """None for a text tower whose config is on the hub only."""
    image_size: tuple[int, int]
    """Height and width, in pixels."""
    context: int
    embedding: int
    activation_bytes: int | None
    """Kept for the backward pass for each pair, in bfloat16 where autocast uses it."""


def architecture_size(name: str) -> Size:
    """The size of one of open_clip's architectures. Raises InvalidSpec for a name that it lacks."""
    config = architecture_config(name)
    whole = "hf_model_name" not in config["text_cfg"]
    with torch.device("meta"):
        module = build_module(config if whole else _with_a_small_text_tower(config), usual_preprocess(name), None, 0)
    with FakeTensorMode():
        _move_to_cpu(module)
        image_size = preprocess_of(module).size
        counts = {"image": 0, "text": 0, "head": 0}
        for parameter_name, parameter in module.named_parameters():
            counts[tower_of(parameter_name)] += parameter.numel()
        context = context_length_of(config)
        # What does not grow with the batch is no activation: weights cast to bfloat16.
        few, more = (_kept_bytes(module, image_size, context, pairs) if whole else 0 for pairs in PAIRS)
    return Size(
        image_parameters=counts["image"],
        text_parameters=counts["text"] if whole else None,
        image_size=image_size,
        context=context,
        embedding=config["embed_dim"],
        activation_bytes=(more - few) // (PAIRS[1] - PAIRS[0]) if whole else None,
    )


def _move_to_cpu(module: nn.Module) -> None:
    """Tensors of the meta device know no autocast; those of a fake CPU do, and have no data either."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype)))
        for name, buffer in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, torch.zeros(buffer.shape, dtype=buffer.dtype))


def _with_a_small_text_tower(config: dict[str, Any]) -> dict[str, Any]:
    changed = deepcopy(config)
    changed["text_cfg"] = {"context_length": 8, "vocab_size": 64, "width": 8, "heads": 1, "layers": 1}
    changed.pop("multimodal_cfg", None)
    return changed


def _kept_bytes(module: nn.Module, image_size: tuple[int, int], context: int, pairs: int) -> int:
    """Bytes that autograd holds between forward and backward pass, weights left out."""
    towers: Any = module.train()
    weights = {id(parameter) for parameter in module.parameters()}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in weights:
            kept.append(tensor)
        return tensor

    images, tokens = torch.zeros(pairs, 3, *image_size), torch.zeros(pairs, context, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        results = [towers.encode_image(images), towers.encode_text(tokens)]
    reference: Any = StorageWeakRef
    storages = {reference(tensor.untyped_storage()): tensor.untyped_storage().nbytes() for tensor in kept}
    del results
    return sum(storages.values())
