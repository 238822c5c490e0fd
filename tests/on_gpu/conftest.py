"""Nothing here says anything on a CPU."""

import os

import pytest
import torch

from finetune_trainer.training.precision import make_deterministic


@pytest.fixture(scope="session", autouse=True)
def gpu() -> torch.device:
    """The device, set up as a run sets it up."""
    if not torch.cuda.is_available():
        pytest.fail(f"torch {torch.__version__} finds no CUDA device here")
    device = torch.device("cuda")
    make_deterministic(device, os.environ)
    return device
