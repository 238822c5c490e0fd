"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) as parametrizations of a model's own weights.

A weight W (out, in) becomes W + alpha / rank x up @ down, where `down` (rank, in) begins at random and `up` (out, rank)
at 0, so that training begins at the base. W itself is frozen. A packed weight, of query, key and value on top of one
another or of each head's in turn, is adapted as the three that it is, and a 1x1 convolution in attention or an MLP as
the linear layer that it is.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from finetune_sdk.api.training import Lora
from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.adapters import HEAD, added_projections, tower_of
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.freeze import TOWERS, Tower
from finetune_trainer.model.layers import tower_layers

_PACKED = {"in_proj_weight": 3, "qkv": 3, "kv": 2}
"""Weights, or the linear layers that hold them, that are several on top of one another."""
_ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Parameters of attention that are no linear layer's."""
_POOLS = ("attn_pool", "attnpool")
"""Attention behind the blocks."""
_MLP = "mlp"
"""What timm calls the MLP of a block; a 1x1 convolution elsewhere, such as a ResNet's, is none."""
_ATTENTION = "Attention"
"""In the names of timm's classes of attention between tokens, not of those to channels (ChannelAttn, SplitAttn)."""
_INNER = ".parametrizations."


class LowRank(nn.Module):
    """The update of one weight: W (parts x out, in) to W + scale x up @ down, in float32 also under autocast.

    W may be (out, in, 1, 1), of a convolution; with several `heads` it is (heads x parts x out, in).
    """

    def __init__(self, weight: Tensor, parts: int, heads: int, spec: Lora, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        rows, columns = weight.shape[:2]
        self.scale = spec.alpha / spec.rank
        # As torch draws a linear layer's weight, uniform in +-1 / sqrt(in); on the CPU, to be the same for any device.
        bound = columns**-0.5
        down = (2 * torch.rand(parts, spec.rank, columns, generator=generator) - 1) * bound
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(torch.zeros(parts, rows // parts, spec.rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            update = self.up @ self.down  # (parts, heads x out, in)
            by_head = update.reshape(len(update), self.heads, -1, update.shape[-1]).transpose(0, 1)
            return weight + self.scale * by_head.reshape(weight.shape)


def add_lora(model: ClipModel, spec: Lora, seed: int) -> str:
    """Adapt the attention and MLP weights of all that is trained, and freeze everything else but projections that are
    new and the loss' scalars; return a sentence for the user. `down` is drawn from `seed`.

    Call after `freeze`. Raises what `check_lora` raises.
    """
    places = check_lora(model)
    kept = {*HEAD, *added_projections(model)}
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in kept)
    generator = torch.Generator().manual_seed(seed)
    for name in [name for tower in TOWERS for name in places[tower]]:
        owner, _, attribute = name.rpartition(".")
        weight = model.module.get_parameter(name)
        parts = _parts(name, weight)
        heads = _heads_of(model.module.get_submodule(owner.rpartition(".")[0])) if parts > 1 else 1
        update = LowRank(weight, parts, heads, spec, generator)
        parametrize.register_parametrization(model.module.get_submodule(owner), attribute, update)
    trained = sum(value.numel() for value in model.module.parameters() if value.requires_grad)
    counts = " and ".join(f"{len(places[tower])} of the {tower} tower's" for tower in TOWERS if places[tower])
    return f"LoRA of rank {spec.rank} adapts {counts} weights: {trained:,} parameters are trained."


def check_lora(model: ClipModel) -> dict[Tower, list[str]]:
    """The names of the weights to adapt, by tower: those in attention and MLPs that `freeze` left to train.

    Raises InvalidSpec for a tower that is trained and has nothing to adapt, or does not tell its blocks, and where
    nothing is trained.
    """
    places: dict[Tower, list[str]] = {tower: list(_adaptable(model, tower)) for tower in TOWERS}
    trained = Counter(tower_of(name) for name, value in model.module.named_parameters() if value.requires_grad)
    new = Counter(tower_of(name) for name in added_projections(model))
    bare: list[Tower] = [tower for tower in TOWERS if trained[tower] > new[tower] and not places[tower]]
    if bare:
        raise InvalidSpec(
            f"training.lora: the {bare[0]} tower of {model.name} has no attention or MLP weights to adapt: "
            f"set training.freeze.{bare[0]}.all: true, or leave lora out"
        )
    if not any(places.values()):
        raise InvalidSpec(
            "training.lora: with both towers frozen there is nothing to adapt: leave lora out to train the projections"
        )
    return places


def has_lora(module: nn.Module) -> bool:
    """Whether `add_lora` was called and `merge_lora` not yet."""
    return any(isinstance(part, LowRank) for part in module.modules())


def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's weights on the CPU, under the names of the module without adapters, updates added."""
    state = {name: value for name, value in module.state_dict().items() if _INNER not in name}
    with torch.no_grad():
        for name, part in module.named_modules():
            if parametrize.is_parametrized(part):
                owned: Any = part.parametrizations
                state |= {f"{name}.{attribute}": getattr(part, attribute) for attribute in owned}
        return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


def merge_lora(module: nn.Module) -> None:
    """Add the updates to the weights and take the adapters away."""
    for part in [part for part in module.modules() if parametrize.is_parametrized(part)]:
        owned: Any = part.parametrizations
        for attribute in list(owned):
            parametrize.remove_parametrizations(part, attribute, leave_parametrized=True)


def training_state(module: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint of the weights holds: all of them; with adapters only what is trained, as the rest is the
    base's, which every attempt loads anyway.
    """
    if not has_lora(module):
        return module.state_dict()
    return {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}


def load_training_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take back what `training_state` gave. Raises RuntimeError, naming tensors, where it was another module's."""
    own = training_state(module)
    if odd := sorted(own.keys() ^ state.keys()):
        raise RuntimeError(f"only one of them has {', '.join(odd[:3])}")
    module.load_state_dict(dict(state), strict=not has_lora(module))


def _adaptable(model: ClipModel, tower: Tower) -> Iterator[str]:
    """Names of the weights in attention and MLPs that are trained."""
    new = set(added_projections(model))
    named = model.module.named_parameters()
    trained = {name for name, value in named if value.requires_grad and tower_of(name) == tower} - new
    if not trained:
        return
    try:
        layers = tower_layers(model.module, tower)
    except InvalidSpec as error:
        raise InvalidSpec(
            f"training.lora: the blocks of the {tower} tower of {model.name} cannot be told apart, nor what of it is "
            f"attention and MLP: set training.freeze.{tower}.all: true, or leave lora out"
        ) from error
    attention = tuple(f"{name}." for name, part in model.module.named_modules() if _ATTENTION in type(part).__name__)
    for owner, part in model.module.named_modules():
        is_linear = _is_linear(part, is_inside=owner.startswith(attention) or _MLP in owner.split("."))
        for attribute in ("weight",) if is_linear else _ATTENTION_WEIGHTS:
            name = f"{owner}.{attribute}"
            if name in trained and (1 <= layers.place[name] <= layers.blocks or _is_pool(name)):
                yield name


def _is_linear(part: nn.Module, *, is_inside: bool) -> bool:
    """Whether a module's weight is (out, in), or that with two sides of 1 `is_inside` attention or an MLP."""
    if isinstance(part, nn.Conv2d):
        return part.kernel_size == (1, 1) and part.groups == 1 and is_inside
    return isinstance(part, nn.Linear)


def _is_pool(name: str) -> bool:
    return any(part in _POOLS for part in name.split("."))


def _parts(name: str, weight: Tensor) -> int:
    owner, _, attribute = name.rpartition(".")
    parts = _PACKED.get(attribute) or _PACKED.get(owner.rpartition(".")[2], 1)
    return parts if weight.shape[0] % parts == 0 else 1


def _heads_of(attention: Any) -> int:
    """How often a packed weight has its parts: once, or once for each head, as timm's CoAtNet and MaxViT order them."""
    return int(attention.num_heads) if getattr(attention, "head_first", False) else 1
