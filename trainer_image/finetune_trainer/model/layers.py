"""Where each parameter of a tower lies: before its blocks, in one of them, or behind them.

Freezing by blocks and layer decay both count by this. A block is a residual block of a transformer, a bottleneck of a
ResNet, and what timm's own `group_matcher` says it is in a timm network.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.adapters import tower_of

Place = tuple[int, ...] | Literal["before", "behind"]
"""A block's ordinals, such as (stage, block), or a side of all blocks."""

_NATIVE_IMAGE = (
    re.compile(r"visual\.(?:conv\d|bn\d|class_embedding|positional_embedding|ln_pre|patchnorm_pre_ln)\b"),
    re.compile(r"visual\.(?:transformer\.resblocks\.(\d+)|layer(\d)\.(\d+))\."),
)
_NATIVE_TEXT = (
    re.compile(r"(?:text\.)?(?:token_embedding|positional_embedding|cls_emb)\b"),
    re.compile(r"(?:text\.)?transformer\.resblocks\.(\d+)\."),
)
_HUGGING_FACE = (
    re.compile(r"text\.transformer\.(?:embeddings|shared|(?:encoder\.)?embed_\w+|(?:encoder\.)?layernorm_embedding)\b"),
    re.compile(r"text\.transformer\.(?:encoder\.)?(?:layers?|block)\.(\d+)\."),
)
_TRUNK = "visual.trunk."
_PREVIOUS = 99999
"""timm's mark of what has no block of its own: within a stage it goes with the block before it."""


@dataclass(frozen=True)
class Layers:
    """One tower's parameters in the order in which its input meets them."""

    blocks: int
    """How many blocks the tower has."""
    place: Mapping[str, int]
    """By parameter name: 0 before the blocks, i in the i-th of them, blocks + 1 behind them."""

    def factor(self, name: str, decay: float) -> float:
        """The factor on a parameter's rate: 1 behind the blocks, `decay` once more for each layer before that."""
        return float(decay ** (self.blocks + 1 - self.place[name]))


def tower_layers(module: nn.Module, tower: Literal["image", "text"]) -> Layers:
    """The layers of one tower of open_clip's module. Raises InvalidSpec for a network that does not tell its blocks."""
    names = [name for name, _ in module.named_parameters() if tower_of(name) == tower]
    place = _placer(module, tower)
    places = {name: place(name) for name in names}
    numbers, blocks = _numbered({found for found in places.values() if isinstance(found, tuple)})
    if not blocks:
        raise InvalidSpec(
            f"training: the blocks of the {tower} tower cannot be told apart: "
            f"leave out freeze.{tower}.blocks and optimizer.layerDecay"
        )
    return Layers(blocks, {name: numbers[found] for name, found in places.items()})


def _numbered(found: set[tuple[int, ...]]) -> tuple[dict[Place, int], int]:
    numbers: dict[Place, int] = {}
    blocks = 0
    for ordinals in sorted(found):
        blocks += ordinals[-1] != _PREVIOUS or not blocks
        numbers[ordinals] = blocks
    return numbers | {"before": 0, "behind": blocks + 1}, blocks


def _placer(module: nn.Module, tower: Literal["image", "text"]) -> Callable[[str], Place]:
    tower_module: Any = module
    if tower == "text":
        hugging_face = hasattr(getattr(module, "text", None), "config")
        return _by_patterns(*(_HUGGING_FACE if hugging_face else _NATIVE_TEXT))
    trunk = getattr(tower_module.visual, "trunk", None)
    return _by_patterns(*_NATIVE_IMAGE) if trunk is None else _by_matcher(trunk)


def _by_patterns(before: re.Pattern[str], block: re.Pattern[str]) -> Callable[[str], Place]:
    def place(name: str) -> Place:
        if found := block.match(name):
            return _ordinals(found)
        return "before" if before.match(name) else "behind"

    return place


def _by_matcher(trunk: Any) -> Callable[[str], Place]:
    """timm's rules, such as {"stem": "^conv_stem", "blocks": [("^blocks\\.(\\d+)", None), ("^norm", (99999,))]}."""
    matcher = trunk.group_matcher(coarse=False) if hasattr(trunk, "group_matcher") else {}
    rules = list(_rules(matcher)) if isinstance(matcher, Mapping) else []

    def place(name: str) -> Place:
        inner = name.removeprefix(_TRUNK)
        for group, pattern, suffix in rules if inner != name else ():
            if found := re.match(pattern, inner):
                if group == 0:
                    return "before"
                # Without a stage the mark means what follows all blocks: the last norm, say.
                behind = _PREVIOUS in suffix and not found.groups()
                return "behind" if behind else (group, *_ordinals(found), *suffix)
        return "behind"

    return place


def _rules(matcher: Mapping[str, Any]) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    for group, rule in enumerate(matcher.values()):
        if isinstance(rule, str):
            yield group, rule, ()
        else:
            yield from ((group, pattern, suffix or ()) for pattern, suffix in rule or ())


def _ordinals(found: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(part) for part in found.groups() if part is not None)
