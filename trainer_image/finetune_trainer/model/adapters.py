"""Oddities of architectures, all of them here."""

from typing import Any, Literal


def loss_of(config: dict[str, Any]) -> Literal["clip", "siglip"]:
    """The loss that weights of this config were made with: a logit bias is SigLIP's sign (open_clip sets it for no other)."""
    return "siglip" if config.get("init_logit_bias") is not None else "clip"
