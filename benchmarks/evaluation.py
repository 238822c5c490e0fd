"""The whole evaluation as a user runs it, command against command: `finetune evaluate` and `clip_benchmark eval`.

    OMP_NUM_THREADS=2 python benchmarks/evaluation.py [--quick]

Both read the same webdataset shards (JPEG files of 640 x 480, five captions each), encode them in float32 and measure
recall at 1, 5 and 10, each in a process of its own, in turn, with nothing cached. The figures must be equal, so the
peer loads with one worker: more mix the order of pictures, and with it the last bits. On a GPU
the model is ViT-B-32 and the pictures are COCO's 5,000. On a CPU, where the forward pass of such a model, the same for
both, would take nearly all of the time, it is a ViT of three narrow layers.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.shards import Sample, write_shards
from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.save import write_model
from support import TRIALS, alternate, arguments, describe_machine, finish, spread

GOAL = 2.0
"""Times as fast."""
KS = ("1", "5", "10")
CAPTIONS = 5
"""Of a picture."""
SMALL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 224, "layers": 3, "width": 192, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 3},
}
WORDS = ["red", "blue", "small", "large", "old", "wooden", "cat", "dog", "boat", "house", "runs", "stands"]


def samples(count: int) -> Iterator[Sample]:
    """Smooth ground with fine noise, which compresses as photographs do, and sentences of ten words."""
    draw = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(draw.integers(0, 255, (9, 12, 3), np.uint8)).resize((640, 480))
        noisy = np.asarray(coarse, np.int16) + draw.integers(-12, 13, (480, 640, 1))
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        captions = tuple(" ".join([*draw.choice(WORDS, 10), str(number)]) for _ in range(CAPTIONS))
        yield Sample(buffer.getvalue(), "jpg", captions)


def main() -> None:
    """Time both commands."""
    quick = arguments(__doc__ or "").quick
    cuda = torch.cuda.is_available()
    count = 64 if quick else 5000 if cuda else 2000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = open_clip.get_model_config("ViT-B-32") if cuda else SMALL
        write_model(assemble(config, {}, name="", source="random", files=None), None, folder / "model")
        write_shards(samples(count), open_store(path_to_uri(folder / "shards")), per_shard=count // 4)
        ours, theirs = alternate(lambda: _ours(folder), lambda: _theirs(folder), 1 if quick else TRIALS)
        equal = _metrics(folder / "ours.json") == _metrics(folder / "theirs.json")
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    figures = {
        "machine": describe_machine("torch", "open_clip_torch", "clip-benchmark", "pillow"),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "pictures": count,
        "captions": count * CAPTIONS,
        "ours_s": spread(ours),
        "theirs_s": spread(theirs),
        "ratio": spread(ratios),
        "equal": equal,
    }
    for key, value in figures.items():
        print(f"{key}: {value}")
    finish("evaluation", figures, {"ratio": GOAL, "equal": True}, equal and spread(ratios)["median"] >= GOAL)


def _ours(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as cache:
        command = ["finetune_sdk", "evaluate", "-m", "model/", "-d", "shards/test/", "-o", "ours.json"]
        _run(folder, *command, *(word for k in KS for word in ("-k", k)), FINETUNE_CACHE=cache)


def _theirs(folder: Path) -> None:
    command = ["clip_benchmark.cli", "eval", "--model", f"local-dir:{folder / 'model'}", "--pretrained", ""]
    command += ["--dataset", "wds/test", "--dataset_root", str(folder / "shards"), "--task", "zeroshot_retrieval"]
    command += ["--no_amp", "--num_workers", "1", "--recall_k", *KS, "--output", str(folder / "theirs.json")]
    _run(folder, *command)


def _run(folder: Path, *command: str, **more: str) -> None:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", **more}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stderr[-3000:]}")


def _metrics(path: Path) -> dict[str, float]:
    metrics: dict[str, float] = json.loads(path.read_text())["metrics"]
    return metrics


if __name__ == "__main__":
    main()
