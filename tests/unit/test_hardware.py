"""The device that a run uses, and what it says about it."""

import pytest
import torch

from finetune_sdk.errors import FinetuneError, GpuUnavailable, InvalidSpec
from finetune_trainer.pipeline.hardware import choose_device, describe_hardware, hardware_notes

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
