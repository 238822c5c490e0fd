"""The check that an export is what was measured: opened afresh by its own library, it must answer alike."""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from finetune_sdk.errors import TrainerError
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.digest import weights_digest
from finetune_trainer.model.fresh import CAPTIONS, ask

FLOAT32_TOLERANCE = 1e-5
"""the same float32 arithmetic, in kernels of another order."""
ONNX_TOLERANCE, ONNX_COSINE = 1e-4, 0.9999
"""another runtime."""


def check_export(folder: Path, model: ClipModel, sample_images: Tensor, sample_tokens: Tensor) -> None:
    """Reload `folder` in a fresh process with plain open_clip and compare it with `model`.

    Weights, tokens and preprocessing are compared bit by bit. So are embeddings on most machines, but not all: with
    equal weights, an Intel Xeon gave last bits of its own to each of two processes. They may differ by 1e-5 at most.

    `model` holds the exported weights. sample_images (n, 3, H, W) float32, normalised; sample_tokens (n, T) int64.
    Raises TrainerError, with the largest difference.
    """
    samples = {"images": sample_images.cpu().float().contiguous(), "tokens": sample_tokens.cpu().contiguous()}
    found = ask("reopen", "open_clip", folder, samples, {"captions": json.dumps(CAPTIONS)})
    if found.metadata["weights"] != weights_digest(model.module.state_dict()):
        raise TrainerError(f"{folder.name}: open_clip reads other weights than the model's")
    if not torch.equal(model.tokenize(list(CAPTIONS)), found.tensors["tokens"]):
        raise TrainerError(f"{folder.name}: open_clip's tokenizer reads captions otherwise")
    for name, value in _embeddings(model, samples).items():
        _compare(folder, f"open_clip's {name}", value, found.tensors[name], FLOAT32_TOLERANCE)
    preprocess = json.loads(found.metadata["preprocess"])
    ours = {"mode": "RGB", **asdict(model.preprocess)}
    if _plain(preprocess) != _plain(ours):
        raise TrainerError(f"{folder.name}: open_clip reads preprocessing {preprocess}, not {ours}")


def check_huggingface_export(folder: Path, model: ClipModel, sample_images: Tensor, sample_tokens: Tensor) -> None:
    """The same by transformers alone: embeddings within 1e-5 once they are L2-normalised, and equal token ids.

    Raises TrainerError, with the largest difference.
    """
    samples = {"images": sample_images.cpu().float().contiguous(), "tokens": sample_tokens.cpu().contiguous()}
    found = ask("reopen_huggingface", "transformers", folder, samples, {"captions": json.dumps(CAPTIONS)})
    for name, value in _embeddings(model, samples).items():
        _compare(folder, f"transformers' {name}", value, found.tensors[name], FLOAT32_TOLERANCE)
    tokens, theirs = model.tokenize(list(CAPTIONS)), found.tensors["tokens"]
    if not torch.equal(tokens, theirs):
        wrong = next(caption for caption, *ids in zip(CAPTIONS, tokens, theirs, strict=True) if not torch.equal(*ids))
        raise TrainerError(f"{folder.name}: transformers' tokenizer reads {wrong[:40]!r} otherwise")


def check_onnx_export(folder: Path, model: ClipModel, sample_images: Tensor, sample_tokens: Tensor) -> None:
    """The same by onnxruntime alone, also with a batch of one: within 1e-4, cosines at least 0.9999.

    Raises TrainerError, with the largest difference.
    """
    samples = {"images": sample_images.cpu().float().contiguous(), "tokens": sample_tokens.cpu().contiguous()}
    found = ask("reopen_onnx", "onnxruntime", folder, samples, {})
    for name, value in _embeddings(model, samples).items():
        for part, expected in ((name, value), (f"{name}_of_one", value[:1])):
            _compare(folder, f"onnxruntime's {part}", expected, found.tensors[part], ONNX_TOLERANCE)
            least = float(F.cosine_similarity(expected, found.tensors[part]).min())
            if least < ONNX_COSINE:
                raise TrainerError(f"{folder.name}: onnxruntime's {part} have a cosine of {least:.6f} with the model's")


def _embeddings(model: ClipModel, samples: dict[str, Tensor]) -> dict[str, Tensor]:
    # A copy: the model may be on a GPU, whose bits differ, and must stay there.
    module: Any = copy.deepcopy(model.module).cpu().eval()
    with torch.inference_mode():
        return {
            "image_embeddings": module.encode_image(samples["images"]),
            "text_embeddings": module.encode_text(samples["tokens"]),
        }


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """As JSON sees it: a size of one number means a square."""
    plain: dict[str, Any] = json.loads(json.dumps(document))
    size = plain["size"]
    return plain | {"size": [size, size] if isinstance(size, int) else size}


def _compare(folder: Path, what: str, expected: Tensor, found: Tensor, tolerance: float) -> None:
    ours, theirs = F.normalize(expected.double(), dim=-1), F.normalize(found.double(), dim=-1)
    worst = float((ours - theirs).abs().max()) if ours.shape == theirs.shape else float("inf")
    if not worst <= tolerance:
        raise TrainerError(
            f"{folder.name}: {what} differ by up to {worst:.3g} from the model's; {tolerance:g} is allowed"
        )
