"""Embeddings of a split as CLIP Benchmark makes them: float32 throughout, L2-normalised, on the CPU.

Batches hold 64 pictures, and the captions of these pictures together, as in `clip_benchmark eval`: the size of a
product decides its last bits. Image embeddings are (N, D), text embeddings (M, D), pixels (B, 3, H, W) float32.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from finetune_trainer.data.batches import evaluation_batches, normalise
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.padding import SameBits
from finetune_trainer.progress import Progress

BATCH = 64
"""Pictures in a batch: CLIP Benchmark's default."""


def encode_images(
    model: ClipModel, split: Split, *, device: torch.device, progress: Progress, batch_size: int = BATCH
) -> Tensor:
    """(N, D) float32 on the CPU, picture by picture in the split's order; `progress` advances by pictures."""
    return encode_pixels(model, evaluation_batches(split, batch_size), device=device, progress=progress)


def encode_texts(
    model: ClipModel, split: Split, *, device: torch.device, progress: Progress, batch_size: int = BATCH
) -> Tensor:
    """(M, D) float32 on the CPU, in the order of `split.captions`; `progress` advances by captions."""
    parts = (split.images[start : start + batch_size] for start in range(0, len(split.images), batch_size))
    batches = (model.tokenize([caption for image in images for caption in image.captions]) for images in parts)
    return encode_tokens(model, batches, device=device, progress=progress)


def encode_pixels(model: ClipModel, batches: Iterable[Tensor], *, device: torch.device, progress: Progress) -> Tensor:
    """(N, D) float32 on the CPU of batches (n, H, W, 3) uint8, as `evaluation_batches` gives them."""
    module: Any = model.module
    return _encode(
        module,
        batches,
        lambda pixels: module.encode_image(normalise(pixels.to(device), model.preprocess)),
        device,
        progress,
    )


def encode_tokens(model: ClipModel, batches: Iterable[Tensor], *, device: torch.device, progress: Progress) -> Tensor:
    """(M, D) float32 on the CPU of batches (n, T) int64, as the model's tokenizer gives them."""
    return _encode(model.module, batches, text_encoder(model, device), device, progress)


def text_encoder(model: ClipModel, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Of token ids (n, T) on the CPU: the (n, D) that `encode_text` gives of whole contexts, by less work on a CPU."""
    module: Any = model.module
    if device.type == "cpu":
        return SameBits(module)
    return lambda tokens: module.encode_text(tokens.to(device))


def _encode(
    module: nn.Module,
    batches: Iterable[Tensor],
    forward: Callable[[Tensor], Tensor],
    device: torch.device,
    progress: Progress,
) -> Tensor:
    """Normalised rows of all batches; (0, 0) where there is none. A GPU works on one batch while the next is made."""
    parts: list[Tensor] = []
    with exact(module, device):
        for batch in batches:
            parts.append(F.normalize(forward(batch), dim=-1))
            parts[-2:-1] = [part.cpu() for part in parts[-2:-1]]  # waits for the batch before, not for this one
            progress.advance(len(batch))
    return torch.cat([part.cpu() for part in parts]) if parts else torch.empty(0, 0)


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
