"""How many pairs go through the model at once: found by trying before the first step, never by failing in one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from finetune_sdk.errors import OutOfGpuMemory

HEADROOM_BYTES = 256 << 20
"""Held back while trying: fragmentation and validation need some memory that no single step shows."""

_OUT_OF_MEMORY = ("CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""What the driver says where not even its context fits, and what cuBLAS and cuDNN say of their workspaces."""


@dataclass(frozen=True)
class Fit:
    """What fits the device."""

    micro_batch: int
    activation_checkpointing: bool
    """Whether activations are computed twice instead of kept (Chen et al. 2016, arXiv:1604.06174)."""


def fit_micro_batch(attempt: Callable[[Fit], None], *, start: Fit, device: str) -> Fit:
    """The first of `start`, its halves, and the same with activation checkpointing, that `attempt` gets through.

    `attempt` runs a whole step with the optimizer's state in memory, changes no weights, and raises what
    `is_out_of_memory` tells where that does not fit. Raises OutOfGpuMemory, naming `device`, if one pair does not.
    """
    for checkpointing in sorted({start.activation_checkpointing, True}):
        micro_batch = start.micro_batch
        while micro_batch > 0:
            fit = Fit(micro_batch, checkpointing)
            if _fits(attempt, fit):
                return fit
            micro_batch //= 2
    raise OutOfGpuMemory(
        f"not even one pair fits {device} beside the model and its optimizer, with activations computed twice: "
        "use a smaller model, freeze a tower (training.freeze), or a device with more memory"
    )


def _fits(attempt: Callable[[Fit], None], fit: Fit) -> bool:
    try:
        attempt(fit)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        torch.cuda.empty_cache()  # nothing where there is no CUDA
    return True


@contextmanager
def out_of_memory_told(tell: Callable[[str], str]) -> Iterator[None]:
    """Raises OutOfGpuMemory in place of whatever says that a device's memory ran out; `tell` is given its words."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfGpuMemory(tell(_brief(error))) from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device's memory ran out: for torch itself, for the driver, or for a library like cuBLAS."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _brief(error: RuntimeError) -> str:
    """What torch says of it, without its advice to programmers."""
    return str(error).splitlines()[0].partition(" Process ")[0].partition(" Of the allocated ")[0]


def headroom(device: torch.device) -> torch.Tensor:
    """Memory to hold while trying; nothing on a CPU."""
    return torch.empty(HEADROOM_BYTES if device.type == "cuda" else 0, dtype=torch.uint8, device=device)
