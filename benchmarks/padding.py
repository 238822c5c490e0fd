"""Captions embedded without their padding, as a run does it, against whole contexts: measuring, and training.

    OMP_NUM_THREADS=2 python benchmarks/padding.py [--quick]

The text tower of ViT-B-32 with random weights, and sentences of 8 to 18 words as COCO's are, those of 64 pictures at
once: embedded without gradient, and with the gradient of every weight. On a GPU where there is one, to be compared; a
run measures with whole contexts there. Whether the embeddings have the same bits is told.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor

from finetune_trainer.evaluation.encode import exact
from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.padding import encode_text, without_padding
from finetune_trainer.pipeline.hardware import choose_device, keep_freed_memory
from finetune_trainer.training.precision import make_deterministic
from support import TRIALS, alternate, arguments, describe_machine, finish, spread

GOAL = 2.0
"""Times as fast as whole contexts, both."""
WORDS = ["red", "blue", "small", "large", "old", "wooden", "cat", "dog", "boat", "house", "runs", "stands"]
CAPTIONS, FEW = 320, 16


def sentences(count: int) -> list[str]:
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(WORDS, draw.integers(8, 19))) for _ in range(count)]


def compare(embed: Callable[[Tensor], object], whole: Tensor, short: Tensor, trials: int) -> dict[str, Any]:
    """Both in turn, after one of each that is not timed."""

    def timed(tokens: Tensor) -> Callable[[], None]:
        def work() -> None:
            embed(tokens)
            if tokens.is_cuda:
                torch.cuda.synchronize()

        return work

    ours, theirs = timed(short), timed(whole)
    ours(), theirs()
    pairs = list(zip(*alternate(ours, theirs, trials), strict=True))
    return {
        "short_s": spread([our for our, _ in pairs]),
        "whole_s": spread([their for _, their in pairs]),
        "ratio": spread([their / our for our, their in pairs]),
    }


def main() -> None:
    quick = arguments(__doc__ or "").quick
    device, _ = choose_device({}, gpus_wished=1)
    make_deterministic(device, {})
    keep_freed_memory(device)
    config = open_clip.get_model_config("ViT-B-32")
    model = assemble(config, {}, name="ViT-B-32", source="random", files=None, device=device)
    module: Any = model.module
    tokens = model.tokenize(sentences(FEW if quick else CAPTIONS))
    whole, short = tokens.to(device), without_padding(module, tokens).to(device)
    trials = 1 if quick else TRIALS

    def train(some: Tensor) -> None:
        module.zero_grad(set_to_none=True)
        torch.autograd.backward(encode_text(module, some).square().sum())

    with exact(module, device):
        equal = torch.equal(encode_text(module, short), module.encode_text(whole))
        measured = {"embed": compare(lambda some: encode_text(module, some), whole, short, trials)}
    measured["train"] = compare(train, whole, short, trials)
    for name, figures in measured.items():
        print(name, figures, flush=True)
    figures = {
        "machine": describe_machine("torch", "open_clip_torch"),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "quick": quick,
        "captions": len(tokens),
        "positions": {"whole": whole.shape[1], "short": short.shape[1]},
        "same_bits": equal,
        **measured,
    }
    least = min(figures["ratio"]["median"] for figures in measured.values())
    finish("padding", figures, {"ratio": GOAL}, quick or least >= GOAL)


if __name__ == "__main__":
    main()
