"""The device that a run uses, and what it says about it."""

import pytest
import torch

from finetune_sdk.errors import FinetuneError, GpuUnavailable, InvalidSpec, OutOfGpuMemory
from finetune_trainer.pipeline.hardware import choose_device, describe_hardware, device_memory, hardware_notes

CPU = torch.device("cpu")
CASES = {
    "the CPU where nothing else is": ({}, 1, "device cpu: no GPU found"),
    "the CPU that the spec asks for": ({}, 0, "device cpu, as compute.gpusPerNode: 0 says"),
    "the CPU that the environment asks for": ({"FINETUNE_DEVICE": "cpu"}, 1, "device cpu, as FINETUNE_DEVICE says"),
}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(("env", "gpus", "told"), CASES.values(), ids=list(CASES))
def test_a_device_is_chosen_and_said(env: dict[str, str], gpus: int, told: str) -> None:
    assert choose_device(env, gpus) == (CPU, told)


@pytest.mark.parametrize(("asked", "error"), [("cuda", GpuUnavailable), ("tpu", InvalidSpec)])
def test_a_device_that_is_not_there_is_refused(asked: str, error: type[FinetuneError]) -> None:
    with pytest.raises(error, match=f"FINETUNE_DEVICE={asked}"):
        choose_device({"FINETUNE_DEVICE": asked}, 1)


def test_only_other_hardware_is_worth_a_note() -> None:
    here = describe_hardware(CPU)
    assert hardware_notes(here, here) == []
    (note,) = hardware_notes(here.model_copy(update={"threads": here.threads + 1}), here)
    assert f"threads {here.threads + 1}, now {here.threads}" in note
    assert "the last bits may differ" in note


OUT_OF_MEMORY = {
    "torch": torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139.80 GiB of which 9.50 MiB "
        "is free. Process 7 has 139 GiB memory in use. Of the allocated memory 1 GiB is allocated by PyTorch.\nMore"
    ),
    "the driver": RuntimeError("CUDA error: out of memory\nSearch for it in the CUDA documentation"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_memory_that_ran_out_is_told_with_what_would_help(error: RuntimeError) -> None:
    with (
        pytest.raises(OutOfGpuMemory, match="a smaller model, or a GPU with more") as told,
        device_memory(),
    ):
        raise error
    assert "Process" not in str(told.value)
    assert "\n" not in str(told.value)


def test_other_errors_of_a_device_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="illegal memory access"), device_memory():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
