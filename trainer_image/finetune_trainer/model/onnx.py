"""Both towers as ONNX graphs with a batch of any size, for runtimes without torch."""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.huggingface import clip_tokenizer
from finetune_trainer.model.save import copy_text_files

IMAGE, TEXT = "image.onnx", "text.onnx"
PIXELS, TOKENS, EMBEDDINGS = "pixels", "tokens", "embeddings"
PREPROCESS = "preprocess.json"
OPSET = 20
"""The first with GELU as one operator; runtimes of 2024 and later have it."""
_TALKATIVE = ("onnxscript", "onnx_ir", "torch.onnx")


class _Tower(nn.Module):
    """(b, ...) to (b, D) float32, L2-normalised: dot products of the outputs are the cosines."""

    def __init__(self, module: nn.Module, encode: str) -> None:
        super().__init__()
        self.module = module
        self.encode = encode

    def forward(self, inputs: Tensor) -> Tensor:
        return F.normalize(getattr(self.module, self.encode)(inputs), dim=-1)


def write_onnx(model: ClipModel, folder: Path) -> None:
    """Write image.onnx, (b, 3, H, W) float32 normalised pixels to embeddings, and text.onnx, (b, T) int64 token ids to
    embeddings, their weights beside them, a tokenizer, and preprocess.json, which says how pixels and tokens are made.

    Raises InvalidSpec where torch cannot export a tower.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A copy: exporting moves nothing then, and the model may be on a GPU.
    module = copy.deepcopy(model.module).cpu().eval()
    pixels = torch.zeros(2, 3, *model.preprocess.size)
    tokens = model.tokenize(["a photo", "of a cat"])
    for name, encode, inputs, file in (
        (PIXELS, "encode_image", pixels, IMAGE),
        (TOKENS, "encode_text", tokens, TEXT),
    ):
        try:
            _export(_Tower(module, encode), inputs, name, folder / file)
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InvalidSpec(
                f"output.exports: {file} of {model.name} cannot be made ({type(error).__name__}: {first}): "
                "remove onnx from output.exports; the open_clip model holds the same weights"
            ) from error
    if model.tokenizer_files is not None:
        copy_text_files(model.tokenizer_files, folder)
    else:
        clip_tokenizer(model.context_length).save_pretrained(folder)
    document = {
        **asdict(model.preprocess),
        "context_length": model.context_length,
        "tokenizer_kwargs": model.config["text_cfg"].get("tokenizer_kwargs") or {},
    }
    (folder / PREPROCESS).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _export(tower: nn.Module, inputs: Tensor, name: str, path: Path) -> None:
    batch: Any = torch.export.Dim("batch", min=1)
    with torch.no_grad(), _quietly():
        program = torch.onnx.export(
            tower,
            (inputs,),
            input_names=[name],
            output_names=[EMBEDDINGS],
            dynamic_shapes=({0: batch},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch gave no program")
        program.save(path, external_data=True)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks on what it optimises, and without inference's fused kernel, which ONNX lacks."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
