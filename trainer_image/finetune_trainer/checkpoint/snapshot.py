"""What a checkpoint holds, apart from where it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Snapshot:
    """The state of training after a step, in host memory."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    """One safetensors file each: {"weights": {"visual.proj": ...}, "optimizer": ...}."""
    document: bytes
    """state.json: all that is no tensor."""


def copy_to_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor copied, so that no two share memory (safetensors refuses that) and later steps change none."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
