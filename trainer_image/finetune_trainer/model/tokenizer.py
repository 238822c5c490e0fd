"""The tokenizer that belongs to a model: open_clip's own, or a Hugging Face one from the model's folder."""

import json
import threading
from functools import cache
from pathlib import Path
from typing import Any

import torch
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer
from torch import Tensor

from finetune_sdk.errors import WeightsInvalid
from finetune_trainer.model.clip import Tokenizer


class SerialTokenizer:
    """One caller at a time: a fast Hugging Face tokenizer raises "Already borrowed" when two threads use it."""

    def __init__(self, tokenizer: HFTokenizer) -> None:
        self.tokenizer = tokenizer
        self._lock = threading.Lock()

    def __call__(self, captions: list[str]) -> Tensor:
        with self._lock:
            return torch.as_tensor(self.tokenizer(captions), dtype=torch.int64)


def context_length_of(config: dict[str, Any]) -> int:
    """Tokens of a caption, padded: as open_clip's get_tokenizer resolves it for a `model_cfg`."""
    return int(config["text_cfg"].get("context_length", DEFAULT_CONTEXT_LENGTH))


def make_tokenizer(config: dict[str, Any], folder: Path | None, source: str) -> Tokenizer:
    """What open_clip.get_tokenizer gives for `local-dir:`, from the same classes.

    `folder` is that of a Hugging Face tokenizer; None will do where the config names none.
    Raises WeightsInvalid, naming `source`, where its files are missing, broken, or want code of their own to run, and
    for options that no tokenizer has.
    """
    text = config["text_cfg"]
    length = context_length_of(config)
    options = dict(text.get("tokenizer_kwargs") or {})
    if not text.get("hf_tokenizer_name"):
        try:
            return _own_tokenizer(length, json.dumps(options, sort_keys=True))
        except Exception as error:  # a clean function by a wrong name, say, is an AssertionError
            raise _bad_options(source, options, error) from error
    try:
        made = HFTokenizer(
            str(folder),
            context_length=length,
            tokenizer_mode=text.get("tokenizer_mode"),
            trust_remote_code=False,
            **options,
        )
    except AssertionError as error:
        raise _bad_options(source, options, error) from error
    except Exception as error:
        needed = "it needs tokenizer.json, or vocab.txt with tokenizer_config.json"
        raise WeightsInvalid(f"{source}: no tokenizer can be read from {folder}: {error}; {needed}") from error
    return SerialTokenizer(made)


def _bad_options(source: str, options: dict[str, Any], error: Exception) -> WeightsInvalid:
    return WeightsInvalid(
        f"{source}: model_cfg.text_cfg.tokenizer_kwargs is {options}, of which open_clip makes no tokenizer: {error}"
    )


@cache
def _own_tokenizer(length: int, options: str) -> Tokenizer:
    """open_clip's, which takes half a second to make and keeps nothing of what it reads."""
    made: Tokenizer = SimpleTokenizer(context_length=length, **json.loads(options))
    return made
