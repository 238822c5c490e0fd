"""Number formats and what makes equal runs equal, by device."""

import warnings
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from finetune_sdk.errors import InvalidSpec

PrecisionName = Literal["fp32", "bf16", "fp16"]
BF16_CAPABILITY = 8
"""Compute capability (Ampere, 2020) from which CUDA devices multiply bfloat16 in hardware."""
CUBLAS_WORKSPACE = ":4096:8"
"""cuBLAS is reproducible with this workspace only; NVIDIA's cuBLAS documentation, "Results reproducibility"."""


def choose_precision(wanted: str, device: str, capability: int) -> PrecisionName:
    """What `training.precision` means on a device: 'cuda' of a compute `capability` (its major number), 'mps' or 'cpu'.

    Raises InvalidSpec where the device cannot do what is asked.
    """
    if wanted == "auto":
        if device != "cuda":
            return "fp32"
        return "bf16" if capability >= BF16_CAPABILITY else "fp16"
    if wanted == "fp32":
        return "fp32"
    if wanted == "bf16" and (device == "cpu" or (device == "cuda" and capability >= BF16_CAPABILITY)):
        return "bf16"
    if wanted == "fp16" and device == "cuda":
        return "fp16"
    have = f"a CUDA device of compute capability {capability}" if device == "cuda" else f"the device {device}"
    raise InvalidSpec(f"training.precision: {wanted} does not work on {have}: use auto or fp32")


def device_capability(device: torch.device) -> int:
    """The major number of a CUDA device's compute capability, 0 for others."""
    return torch.cuda.get_device_capability(device)[0] if device.type == "cuda" else 0


def autocast_of(precision: PrecisionName, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Makes the context in which towers run; a new one each time."""
    if precision == "fp32":
        return nullcontext
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return lambda: torch.autocast(device.type, dtype=dtype)


def make_scaler(precision: PrecisionName, device: torch.device) -> torch.amp.GradScaler:
    """The loss scaler that fp16 needs; for other formats one that does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def make_deterministic(device: torch.device, environment: MutableMapping[str, str]) -> None:
    """Make equal steps give equal bits. Call before the first work on CUDA: cuBLAS reads `environment` once."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if device.type != "cuda":
        return
    environment["CUBLAS_WORKSPACE_CONFIG"] = CUBLAS_WORKSPACE
    # torch warns so where the first product is the backward pass', in a thread of its own, and then makes a context.
    warnings.filterwarnings("ignore", "Attempting to run cuBLAS, but there was no current CUDA context")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    # It would fill every new tensor with NaN to show reads of unset memory: a cost for debugging.
    torch.utils.deterministic.__setattr__("fill_uninitialized_memory", False)
