"""How large an architecture is, found without weights and arithmetic: by tensors that have no data."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from finetune_trainer.model.adapters import tower_of
from finetune_trainer.model.architectures import architecture_config, usual_preprocess
from finetune_trainer.model.build import build_module, preprocess_of
from finetune_trainer.model.tokenizer import context_length_of

PAIRS = 23
"""Pairs in the trial batch: a number that divides no side of any weight, so that what grows with the batch is told from
weights cast to bfloat16 by its shape."""
_IN_FLOAT32: tuple[Callable[..., Any], ...] = (F.layer_norm, F.group_norm, F.softmax, Tensor.softmax, torch.softmax)
"""What autocast computes in float32 on a GPU and in bfloat16 on a CPU."""
_DECODER = "text_decoder."
"""CoCa's: neither tower, and not trained."""


@dataclass(frozen=True)
class Size:
    """One architecture."""

    image_parameters: int
    text_parameters: int | None
    """None for a text tower whose config is on the hub only."""
    unused_parameters: int
    """Of what is loaded and never trained: CoCa's decoder."""
    image_size: tuple[int, int]
    """Height and width, in pixels."""
    context: int
    """Tokens of a caption."""
    embedding: int
    activation_bytes: int | None
    """Kept for the backward pass for each pair, as autocast to bfloat16 does it on a GPU. None as above."""


def architecture_size(name: str) -> Size:
    """The size of one of open_clip's architectures. Raises InvalidSpec for a name that it lacks."""
    config = architecture_config(name)
    whole = "hf_model_name" not in config["text_cfg"]
    with torch.device("meta"):
        built = config if whole else _with_a_small_text_tower(config)
        module = build_module(built, usual_preprocess(name), None, 0, name)
    image_size, context = preprocess_of(module).size, context_length_of(config)
    counts = {"image": 0, "text": 0, "head": 0, "unused": 0}
    for place, parameter in module.named_parameters():
        counts["unused" if place.startswith(_DECODER) else tower_of(place)] += parameter.numel()
    return Size(
        image_parameters=counts["image"],
        text_parameters=counts["text"] if whole else None,
        unused_parameters=counts["unused"],
        image_size=image_size,
        context=context,
        embedding=config["embed_dim"],
        activation_bytes=kept_bytes(module, image_size, context) if whole else None,
    )


def kept_bytes(module: nn.Module, image_size: tuple[int, int], context: int) -> int:
    """Bytes that autograd holds for each pair between forward and backward pass; `module` loses its weights."""
    sides = {side for parameter in module.parameters() for side in parameter.shape}
    if any(side % PAIRS == 0 for side in sides):
        raise ValueError(f"{PAIRS} divides a weight's side: choose another number of pairs")
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        if any(side % PAIRS == 0 for side in tensor.shape):
            kept.append(tensor)
        return tensor

    with FakeTensorMode():
        _move_to_cpu(module)
        towers: Any = module.train()
        images, tokens = torch.zeros(PAIRS, 3, *image_size), torch.zeros(PAIRS, context, dtype=torch.int64)
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16), AsOnGpu():
            results = [towers.encode_image(images), towers.encode_text(tokens)]
        reference: Any = StorageWeakRef  # one storage may be kept by several operations
        storages = {reference(tensor.untyped_storage()): tensor.untyped_storage().nbytes() for tensor in kept}
    del results
    return sum(storages.values()) // PAIRS


class AsOnGpu(TorchFunctionMode):
    """Autocast's rules for CUDA where those for a CPU differ and what is kept is larger for it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _IN_FLOAT32 and args:
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


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
