"""What is not trained."""

from collections import Counter
from typing import Literal

from finetune_sdk.api.training import Freeze, TowerFreeze
from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.adapters import added_projections, tower_of, unreached
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.layers import tower_layers

Tower = Literal["image", "text"]
TOWERS: tuple[Tower, Tower] = ("image", "text")


def freeze(model: ClipModel, spec: Freeze) -> list[str]:
    """Set requires_grad on every parameter by `training.freeze`; return a sentence for the user about each surprise.

    A frozen tower's added projection is trained all the same. What lies before the first trained parameter costs no
    memory for activations: none of its inputs and parameters needs a gradient, so autograd records nothing.
    Parameters that the contrastive loss does not reach are frozen too. Raises InvalidSpec where nothing is left, and
    for more blocks than there are.
    """
    notes: list[str] = []
    frozen: set[str] = set()
    for tower in TOWERS:
        held, note = _frozen_part(model, tower, getattr(spec, tower))
        frozen |= held
        notes += note
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_(name not in frozen)
    notes += _freeze_unreached(model)
    if not any(value.requires_grad and tower_of(name) != "head" for name, value in model.module.named_parameters()):
        raise InvalidSpec(
            "training.freeze: with image.all and text.all nothing but the logit scale is left to train; "
            "freeze one tower only"
        )
    return notes


def _frozen_part(model: ClipModel, tower: Tower, spec: TowerFreeze | None) -> tuple[set[str], list[str]]:
    if spec is not None and spec.all:
        kept = set(added_projections(model))
        owned = [name for name, _ in model.module.named_parameters() if tower_of(name) == tower]
        frozen = {name for name in owned if name not in kept}
        rest = "; its projection is trained" if len(frozen) < len(owned) else ""
        return frozen, [f"The {tower} tower is frozen ({len(frozen)} of {len(owned)} tensors){rest}."]
    if spec is None or not spec.blocks:
        return set(), []
    return _frozen_blocks(model, tower, spec.blocks)


def _frozen_blocks(model: ClipModel, tower: Tower, count: int) -> tuple[set[str], list[str]]:
    layers = tower_layers(model.module, tower)
    if count > layers.blocks:
        raise InvalidSpec(
            f"training.freeze.{tower}.blocks: {count}, but the {tower} tower of {model.name} has {layers.blocks}: "
            f"use at most {layers.blocks}, or all: true for the whole tower"
        )
    frozen = {name for name, place in layers.place.items() if place <= count}
    which = f"{count} of {layers.blocks} blocks, with what lies before them: {len(frozen)} tensors"
    return frozen, [f"The {tower} tower is frozen in part ({which})."]


def _freeze_unreached(model: ClipModel) -> list[str]:
    names = unreached(model)
    for name in names:
        model.module.get_parameter(name).requires_grad_(False)
    parts = Counter(".".join(name.split(".")[:2]) for name in names)
    listed = ", ".join(f"{part} ({count} tensors)" for part, count in parts.items())
    return [f"The contrastive loss does not reach these, so they stay as they are: {listed}."] if names else []
