"""Embeddings of a split as CLIP Benchmark makes them: float32 throughout, L2-normalised, on the CPU.

Batches hold 64 pictures, and the captions of these pictures together, as in `clip_benchmark eval`: the size of a
product decides its last bits. Image embeddings are (N, D), text embeddings (M, D), pixels (B, 3, H, W) float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from finetune_trainer.data.batches import evaluation_batches, normalise
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.progress import Progress

BATCH = 64
"""Pictures in a batch: CLIP Benchmark's default."""


def encode_images(
    model: ClipModel, split: Split, *, device: torch.device, progress: Progress, batch_size: int = BATCH
) -> Tensor:
    """(N, D) float32 on the CPU, picture by picture in the split's order; `progress` advances by pictures."""
    module: Any = model.module
    parts = []
    with exact(module, device):
        for pixels in evaluation_batches(split, batch_size):
            batch = normalise(pixels, model.preprocess).to(device)
            parts.append(F.normalize(module.encode_image(batch), dim=-1).cpu())
            progress.advance(len(pixels))
    return torch.cat(parts)


def encode_texts(
    model: ClipModel, split: Split, *, device: torch.device, progress: Progress, batch_size: int = BATCH
) -> Tensor:
    """(M, D) float32 on the CPU, in the order of `split.captions`; `progress` advances by captions."""
    module: Any = model.module
    parts = []
    with exact(module, device):
        for start in range(0, len(split.images), batch_size):
            images = split.images[start : start + batch_size]
            captions = [caption for image in images for caption in image.captions]
            tokens = model.tokenize(captions).to(device)
            parts.append(F.normalize(module.encode_text(tokens), dim=-1).cpu())
            progress.advance(len(captions))
    return torch.cat(parts)


@contextmanager
def exact(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Eval mode, no gradient, no autocast, no TF32: what the number is defined with. All is put back afterwards."""
    training = [part for part in module.modules() if part.training]
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    module.eval()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution
        for part in training:
            part.training = True
