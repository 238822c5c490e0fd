"""The check that an export is what was measured: opened afresh by open_clip, it must give the same bits."""

import copy
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from finetune_sdk.errors import TrainerError
from finetune_trainer.model.clip import ClipModel

CAPTIONS = ("a photo of a cat", "", "Zwei Hunde & ein rotes Auto!", "word " * 200)
"""Also empty, not English, and longer than any context: where tokenizers differ."""
TIMEOUT_SECONDS = 900
"""Opening gigabytes from a cold disk takes minutes; a hub that is out of reach makes open_clip wait for ever."""


def check_export(folder: Path, model: ClipModel, sample_images: Tensor, sample_tokens: Tensor) -> None:
    """Reload `folder` in a fresh process with plain open_clip and compare it with `model`, both on CPU, bit by bit.

    `model` holds the exported weights. sample_images (n, 3, H, W) float32, normalised; sample_tokens (n, T) int64.
    Raises TrainerError, with the largest difference, where embeddings, tokens or preprocessing are not equal.
    """
    samples = {"images": sample_images.cpu().float().contiguous(), "tokens": sample_tokens.cpu().contiguous()}
    found, preprocess = _reopened(folder, samples)
    expected = _embeddings(model, samples) | {"tokens": model.tokenize(list(CAPTIONS))}
    for name, value in expected.items():
        _compare(folder, name, value, found[name])
    ours = {"mode": "RGB", **asdict(model.preprocess)}
    if _plain(preprocess) != _plain(ours):
        raise TrainerError(f"{folder.name}: open_clip reads preprocessing {preprocess}, not {ours}")


def _embeddings(model: ClipModel, samples: dict[str, Tensor]) -> dict[str, Tensor]:
    # A copy: the model may be on a GPU, whose bits differ, and must stay there.
    module: Any = copy.deepcopy(model.module).cpu().eval()
    with torch.inference_mode():
        return {
            "image_embeddings": module.encode_image(samples["images"]),
            "text_embeddings": module.encode_text(samples["tokens"]),
        }


def _reopened(folder: Path, samples: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        given, answers = Path(scratch) / "samples.safetensors", Path(scratch) / "answers.safetensors"
        save_file(samples, given, {"captions": json.dumps(CAPTIONS)})
        arguments = [str(given), str(answers), str(torch.get_num_threads())]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "finetune_trainer.model.reopen", *arguments],
                cwd=folder,
                env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TrainerError(
                f"{folder.name}: open_clip took more than {TIMEOUT_SECONDS} s to open the export"
            ) from error
        if done.returncode:
            tail = " ".join(done.stderr.strip().splitlines()[-3:])
            raise TrainerError(f"{folder.name}: open_clip cannot open the export (exit {done.returncode}): {tail}")
        with safe_open(answers, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["preprocess"])  # noqa: SIM118


def _compare(folder: Path, name: str, expected: Tensor, found: Tensor) -> None:
    if expected.shape != found.shape:
        raise TrainerError(f"{folder.name}: open_clip's {name} are {tuple(found.shape)}, not {tuple(expected.shape)}")
    if not torch.equal(expected, found):
        worst = float((expected.double() - found.double()).abs().max())
        raise TrainerError(f"{folder.name}: open_clip's {name} differ by up to {worst:.3g} from the model's")


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """As JSON sees it: a size of one number means a square."""
    plain: dict[str, Any] = json.loads(json.dumps(document))
    size = plain["size"]
    return plain | {"size": [size, size] if isinstance(size, int) else size}
