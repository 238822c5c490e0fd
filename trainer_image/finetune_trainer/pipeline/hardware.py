"""Where a run runs: the device it uses, and what run.json says of machine and versions."""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import torch

from finetune_sdk.errors import GpuUnavailable, InvalidSpec
from finetune_trainer.records import Hardware
from finetune_trainer.training.memory import out_of_memory_told

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's malloc.h."""
KEPT_BLOCK = 1 << 30
"""Bytes of the largest block that is kept."""
KEPT_TOTAL = (1 << 31) - 1
"""Bytes that are kept at most: as much as mallopt's argument can say."""

DEVICE_VARIABLE = "FINETUNE_DEVICE"
CPU = torch.device("cpu")
DEVICES = ("cuda", "mps", "cpu")
PACKAGES = ("finetune-operator", "torch", "open_clip_torch", "timm", "transformers", "torchvision", "numpy", "pillow")


def choose_device(env: Mapping[str, str], gpus_wished: int, *, ordered: bool = False) -> tuple[torch.device, str]:
    """The device to use and a sentence that says why: CUDA, else Apple's MPS, else CPU; FINETUNE_DEVICE overrules.

    Raises:
        GpuUnavailable: FINETUNE_DEVICE asks for a GPU that is not there, or one is `ordered` and torch sees none.
        InvalidSpec: FINETUNE_DEVICE is none of cuda, mps and cpu.
    """
    asked = env.get(DEVICE_VARIABLE, "")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked:
        if asked not in DEVICES:
            raise InvalidSpec(f"{DEVICE_VARIABLE}={asked} is not a device: use one of {', '.join(DEVICES)}")
        if not available[asked]:
            raise GpuUnavailable(f"{DEVICE_VARIABLE}={asked}, but torch {torch.__version__} finds no such device here")
        return torch.device(asked), f"device {asked}, as {DEVICE_VARIABLE} says"
    if gpus_wished == 0:
        return torch.device("cpu"), "device cpu, as compute.gpusPerNode: 0 says"
    if ordered and not available["cuda"]:
        raise GpuUnavailable(
            f"compute.gpusPerNode is {gpus_wished}, but torch {torch.__version__} finds no GPU in this pod: look at "
            "the node's driver and device plugin, or set compute.gpusPerNode: 0 to train on the CPU"
        )
    found = next(name for name in DEVICES if available[name])
    why = (
        "no GPU found" if found == "cpu" else torch.cuda.get_device_name() if found == "cuda" else "Apple GPU, float32"
    )
    return torch.device(found), f"device {found}: {why}"


@contextmanager
def device_memory() -> Iterator[None]:
    """Raises OutOfGpuMemory, with what would help, where the model or its work does not fit the device."""
    with out_of_memory_told(
        lambda words: f"the GPU's memory ran out: use a smaller model, or a GPU with more that is free ({words})"
    ):
        yield


def describe_hardware(device: torch.device) -> Hardware:
    """What run.json records of the machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Hardware(
        device=device.type,
        device_name=name,
        cpus=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_bytes=pages * page,
    )


def processor_name() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def keep_freed_memory(device: torch.device) -> None:
    """Let glibc keep large freed blocks for the next step, on a CPU; nothing elsewhere.

    By default it gives every large activation back to the system and has each page of the next one zeroed again;
    benchmarks/freed_memory.py tells what that costs.
    """
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        allocator = ctypes.CDLL(None)
        allocator.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK)
        allocator.mallopt(M_TRIM_THRESHOLD, KEPT_TOTAL)


def loads_in_processes(device: torch.device) -> bool:
    """Whether training pictures are made in processes of their own (docs/decisions/0014).

    A CPU's step is so much longer than the loader's hold on Python's lock that threads, which are there at once, do.
    """
    return device.type == "cuda"


def hardware_notes(began: Hardware, now: Hardware) -> list[str]:
    """What a resumed run's user should know: equal bits need equal hardware."""
    names = ("device_name", "threads", "world_size")
    changed = [
        f"{name.replace('_', ' ')} {getattr(began, name)}, now {getattr(now, name)}"
        for name in names
        if getattr(began, name) != getattr(now, name)
    ]
    if not changed:
        return []
    return [f"this run began with {'; '.join(changed)}: the same data in the same order, but the last bits may differ"]


def versions() -> dict[str, str]:
    """The versions that figures may depend on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
