"""Oddities of architectures, all of them here."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from finetune_trainer.model.clip import ClipModel

HEAD = ("logit_scale", "logit_bias")
"""Parameters of the loss; they belong to no tower."""

_POSITIONS = (
    "positional_embedding",
    "pos_embed",
    "position_embedding",
    "relative_position",
    "relative_attention_bias",
)
"""Found in the names of position embeddings in open_clip, timm and Hugging Face."""
_TOKENS = ("class_embedding", "cls_token", "cls_emb", "reg_token", "dist_token", "latent", "query", "probe")
"""Names of parameters that are a learnt input, (1, 1, width) or the like, and no map."""


def initialise_left_over(module: nn.Module) -> None:
    """Draw what open_clip's constructors leave as the memory was: the projection of CoCa's decoder."""
    decoder = getattr(module, "text_decoder", None)
    if decoder is not None:
        nn.init.normal_(decoder.text_projection, std=decoder.text_projection.shape[0] ** -0.5)


def loss_of(config: dict[str, Any]) -> Literal["clip", "siglip"]:
    """The loss that weights of a config were made with: a logit bias is SigLIP's sign, no other loss has one."""
    return "siglip" if config.get("init_logit_bias") is not None else "clip"


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: not to biases, norms and scalars (one dimension or none), positions and tokens."""
    is_input = any(part in name for part in _POSITIONS) or name.rpartition(".")[2] in _TOKENS
    return parameter.ndim > 1 and not is_input


def tower_of(name: str) -> Literal["image", "text", "head"]:
    """Where a parameter belongs: in open_clip's modules `visual` is the image tower, all but the loss' scalars text."""
    if name in HEAD:
        return "head"
    return "image" if name.startswith("visual.") else "text"


def added_projections(model: ClipModel) -> list[str]:
    """Parameters that open_clip puts behind a timm or Hugging Face trunk, new in a composed model.

    Native towers have none: their projection belongs to the pretrained tower, and open_clip's lock() freezes it too.
    """
    prefixes = []
    if "timm_model_name" in model.config["vision_cfg"]:
        prefixes.append("visual.head.")
    if "hf_model_name" in model.config["text_cfg"]:
        prefixes.append("text.proj.")
    return [name for name, _ in model.module.named_parameters() if name.startswith(tuple(prefixes))] if prefixes else []


def unreached(model: ClipModel) -> list[str]:
    """Trainable parameters that no contrastive loss reaches, by one backward pass of one pair: CoCa's decoder, say.

    An optimizer would decay them all the same, and a checkpoint would show them as trained.
    """
    named = {name: value for name, value in model.module.named_parameters() if value.requires_grad and name not in HEAD}
    if not named:
        return []
    with torch.enable_grad():
        total = sum((embedding.sum() for embedding in _one_pair(model)), torch.zeros(()))
        found = torch.autograd.grad(total, list(named.values()), allow_unused=True) if total.requires_grad else []
    return [name for name, gradient in zip(named, found, strict=True) if gradient is None]


def _one_pair(model: ClipModel) -> Iterator[Tensor]:
    module: Any = model.module
    device = module.logit_scale.device
    images = torch.zeros(1, 3, *model.preprocess.size, device=device)
    yield module.encode_image(images, normalize=False).float().cpu()
    yield module.encode_text(model.tokenize(["a photo"]).to(device), normalize=False).float().cpu()
