"""The model as every stage sees it: open_clip's module with the exact preprocessing and tokenizer that belong to it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

Tokenizer = Callable[[list[str]], Tensor]
"""Captions to token ids, (N, T) int64."""


Interpolation = Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class Preprocess:
    """open_clip's PreprocessCfg: how a picture becomes the image tower's input."""

    size: tuple[int, int]
    """Height and width of the input, in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation
    resize_mode: Literal["shortest", "longest", "squash"]
    fill_color: int = 0


@dataclass
class ClipModel:
    """A CLIP-style model in float32, in eval mode, on one device."""

    name: str
    """open_clip's architecture, or 'composed'."""
    module: nn.Module
    """Has encode_image, encode_text, logit_scale and, for SigLIP, logit_bias (else None)."""
    preprocess: Preprocess
    tokenize: Tokenizer
    context_length: int
    config: dict[str, Any]
    """open_clip's model_cfg: what open_clip_config.json holds, towers' hub names in place of local paths."""
    tokenizer_files: Path | None
    """The folder of a Hugging Face tokenizer and text tower's config; None for open_clip's own tokenizer."""
    source: str
    """Where the weights came from: a tag, a URI, 'random' or 'composed'."""
    digest: str
    """SHA-256 over the names, shapes and bytes of all weights as loaded."""
    loss: Literal["clip", "siglip"]
    """The loss that the weights were made with."""
    notes: tuple[str, ...] = ()
    """What the user should know: parameters that the contrastive loss does not reach, ..."""
