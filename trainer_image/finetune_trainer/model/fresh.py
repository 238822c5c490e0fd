"""Another process opens an export and answers: what the export's users will see, and nothing of this process."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from finetune_sdk.errors import TrainerError

CAPTIONS = ("a photo of a cat", "", "Zwei Hunde & ein rotes Auto!", "word " * 200)
"""Also empty, not English, and longer than any context: where tokenizers differ."""
TIMEOUT_SECONDS = 900
"""Opening gigabytes from a cold disk takes minutes; a hub that is out of reach makes libraries wait for ever."""


@dataclass(frozen=True)
class Answers:
    """What a program of `reopen*` found."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def ask(program: str, reader: str, folder: Path, samples: dict[str, Tensor], metadata: dict[str, str]) -> Answers:
    """Run `python -m finetune_trainer.model.PROGRAM SAMPLES ANSWERS THREADS` in `folder`, offline.

    `reader` is the library that opens the export, for messages. Raises TrainerError where it cannot.
    """
    with tempfile.TemporaryDirectory() as scratch:
        given, answers = Path(scratch) / "samples.safetensors", Path(scratch) / "answers.safetensors"
        save_file(samples, given, metadata)
        arguments = [str(given), str(answers), str(torch.get_num_threads())]
        try:
            done = subprocess.run(
                [sys.executable, "-m", f"finetune_trainer.model.{program}", *arguments],
                cwd=folder,
                env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TrainerError(
                f"{folder.name}: {reader} took more than {TIMEOUT_SECONDS} s to open the export"
            ) from error
        if done.returncode:
            tail = " ".join(done.stderr.strip().splitlines()[-3:])
            raise TrainerError(f"{folder.name}: {reader} cannot open the export (exit {done.returncode}): {tail}")
        with safe_open(answers, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Answers(tensors, file.metadata() or {})
