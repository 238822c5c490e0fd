"""What makes a model this one beside its weights: equal weights may compute, see and read otherwise."""

import hashlib
import json
from dataclasses import asdict

from finetune_trainer.model.architectures import meaning
from finetune_trainer.model.build import read_json
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.fresh import CAPTIONS

_TEXT_TOWER = "text_cfg.hf_model_name"
"""A name for what the folder's config.json says in full; a copy may have another."""


def config_digest(model: ClipModel) -> str:
    """SHA-256 over architecture, preprocessing and what the tokenizer makes of a few captions.

    Equal for a copy of the model in another place, also where its config leaves defaults out or names another hub.
    """
    architecture = meaning(model.config)
    if architecture.pop(_TEXT_TOWER, None) is not None and model.tokenizer_files is not None:
        architecture[_TEXT_TOWER] = read_json(model.tokenizer_files / "config.json")
    document = {
        "architecture": architecture,
        "preprocess": asdict(model.preprocess),
        "tokens": model.tokenize(list(CAPTIONS)).tolist(),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
