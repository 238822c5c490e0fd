"""Put a ClipModel together from its parts: the one place where module, weights, preprocessing and tokenizer meet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from finetune_trainer.model.adapters import loss_of
from finetune_trainer.model.build import build_module, preprocess_of
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.digest import weights_digest
from finetune_trainer.model.tokenizer import context_length_of, make_tokenizer

CPU = torch.device("cpu")


def assemble(
    config: dict[str, Any],
    preprocess: dict[str, Any],
    *,
    name: str,
    source: str,
    files: Path | None,
    load: Callable[[nn.Module], None] | None = None,
    seed: int = 0,
    device: torch.device = CPU,
) -> ClipModel:
    """A model of open_clip's `model_cfg`, its weights drawn from `seed`, then replaced by `load`.

    `files` is the folder of the Hugging Face tokenizer and text tower's config. Raises WeightsInvalid.
    """
    module = build_module(config, preprocess, files, seed, source)
    if load is not None:
        load(module)
    return ClipModel(
        name=name,
        module=module.to(device),
        preprocess=preprocess_of(module),
        tokenize=make_tokenizer(config, files, source),
        context_length=context_length_of(config),
        config=config,
        tokenizer_files=files if config["text_cfg"].get("hf_tokenizer_name") else None,
        source=source,
        digest=weights_digest(module.state_dict()),
        loss=loss_of(config),
    )
