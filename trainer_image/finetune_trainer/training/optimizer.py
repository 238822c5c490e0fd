"""AdamW over the parameters that are trained, and what is done to gradients and logit scale around its step."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from finetune_trainer.model.adapters import decays, tower_of
from finetune_trainer.model.layers import tower_layers
from finetune_trainer.training.loss import LossName
from finetune_trainer.training.towers import TOWERS

MAX_LOGIT_SCALE = math.log(100)
"""Radford et al. 2021, section 2.5: scaling logits by more than 100 made training unstable."""
RATE_FACTOR = "rate_factor"
"""What a group of parameters multiplies the rate by: layer decay."""


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name, in the module's order."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def make_optimizer(
    module: nn.Module,
    *,
    weight_decay: float,
    betas: tuple[float, float],
    epsilon: float,
    layer_decay: float = 1.0,
) -> torch.optim.AdamW:
    """AdamW with its state allocated, as if after no step; the rate is set at each step.

    With a `layer_decay` below 1 layers learn slower the nearer they are to the input (BEiT, arXiv:2106.08254).
    State that exists from the start is what a checkpoint restores into and what the memory probe counts.
    """
    parameters = trained_parameters(module)
    factors = layer_factors(module, layer_decay)
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, parameter in sorted(parameters.items(), key=lambda item: not decays(*item)):
        key = (decays(name, parameter), factors.get(name, 1.0))
        empty = {"params": [], "weight_decay": weight_decay if key[0] else 0.0, RATE_FACTOR: key[1]}
        groups.setdefault(key, empty)["params"].append(parameter)
    device = next(iter(parameters.values())).device
    # One pass over the memory in place of ten; torch has no such kernel for every kind of device.
    fused = device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(list(groups.values()), lr=0.0, betas=betas, eps=epsilon, fused=fused)
    _allocate_state(optimizer)
    return optimizer


def layer_factors(module: nn.Module, layer_decay: float) -> dict[str, float]:
    """The factor on the rate of each trained parameter of the towers; empty where it is 1 for all.

    Raises InvalidSpec for a network that does not tell its blocks.
    """
    if layer_decay == 1:
        return {}
    factors: dict[str, float] = {}
    for tower in TOWERS:
        # A frozen tower needs no layers: it may be a network that has none to tell.
        trained = [name for name in trained_parameters(module) if tower_of(name) == tower]
        layers = tower_layers(module, tower) if trained else None
        factors |= {name: layers.factor(name, layer_decay) for name in trained} if layers else {}
    return factors


def _allocate_state(optimizer: torch.optim.AdamW) -> None:
    """A step at rate 0 with gradients of 0 changes no weight and leaves moments of 0; its count is taken back."""
    for parameter in _parameters(optimizer):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for state in optimizer.state.values():
        state["step"].zero_()


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step; each group of parameters has its own factor on it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[RATE_FACTOR]


def clip_gradients(optimizer: torch.optim.Optimizer, clip_norm: float) -> Tensor:
    """Scale all gradients together so that their norm is at most `clip_norm`; return the norm before, () float32."""
    return torch.nn.utils.clip_grad_norm_(_parameters(optimizer), clip_norm)


def logit_scale_limit(module: nn.Module, loss: LossName) -> float | None:
    """The largest logit scale (a logarithm) that training may reach, read off the base model; None: any.

    Weights that were made with a larger scale keep it. SigLIP's loss has no such limit.
    """
    if loss == "siglip":
        return None
    scale: Any = module.logit_scale
    return max(MAX_LOGIT_SCALE, float(scale.detach()))


def clamp_logit_scale(module: nn.Module, limit: float | None) -> None:
    """Bring the logit scale back to its limit after an optimizer step."""
    scale: Any = module.logit_scale
    if limit is not None and scale.requires_grad:
        scale.data.clamp_(max=limit)
