"""What is not trained."""

from collections import Counter
from typing import Literal

from finetune_sdk.api.training import Freeze, TowerFreeze
from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.adapters import added_projections, tower_of, unreached
from finetune_trainer.model.clip import ClipModel

Tower = Literal["image", "text"]
TOWERS: tuple[Tower, Tower] = ("image", "text")


def freeze(model: ClipModel, spec: Freeze) -> list[str]:
    """Set requires_grad on every parameter by `training.freeze`; return a sentence for the user about each surprise.

    A frozen tower's added projection is trained all the same. A frozen trunk costs no memory for activations: none of
    its inputs and parameters needs a gradient, so autograd records nothing until the projection.
    Parameters that the contrastive loss does not reach are frozen too. Raises InvalidSpec where nothing is left.
    """
    kept = set(added_projections(model))
    frozen = {tower for tower in TOWERS if _is_whole(getattr(spec, tower), tower)}
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_(tower_of(name) not in frozen or name in kept)
    notes = [_note_of_tower(tower, model, kept) for tower in TOWERS if tower in frozen]
    notes += _freeze_unreached(model)
    if not any(value.requires_grad and tower_of(name) != "head" for name, value in model.module.named_parameters()):
        raise InvalidSpec(
            "training.freeze: with image.all and text.all nothing but the logit scale is left to train; "
            "freeze one tower only"
        )
    return notes


def _is_whole(spec: TowerFreeze | None, tower: Tower) -> bool:
    if spec is not None and spec.blocks:
        raise InvalidSpec(f"training.freeze.{tower}.blocks: freezing single blocks is not supported yet; use all: true")
    return spec is not None and bool(spec.all)


def _note_of_tower(tower: Tower, model: ClipModel, kept: set[str]) -> str:
    owned = [name for name, _ in model.module.named_parameters() if tower_of(name) == tower]
    trained = sum(name in kept for name in owned)
    rest = "; its projection is trained" if trained else ""
    return f"The {tower} tower is frozen ({len(owned) - trained} of {len(owned)} tensors){rest}."


def _freeze_unreached(model: ClipModel) -> list[str]:
    names = unreached(model)
    for name in names:
        model.module.get_parameter(name).requires_grad_(False)
    parts = Counter(".".join(name.split(".")[:2]) for name in names)
    listed = ", ".join(f"{part} ({count} tensors)" for part, count in parts.items())
    return [f"The contrastive loss does not reach these, so they stay as they are: {listed}."] if names else []
