"""What `finetune encode` costs beside the model's bare forward pass: reading, decoding, resizing, normalising.

    OMP_NUM_THREADS=2 python benchmarks/encode.py [--quick]

ViT-B-32 with random weights, on JPEG files of 500 x 375 pixels, as Flickr8k's are. Bare: batches of 64 that lie ready
in the model's memory, its embeddings left there. Both in turn, on a GPU where there is one.
"""

import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from finetune_sdk.api.data import DataSource
from finetune_sdk.api.model import Model
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.bare import open_pictures
from finetune_trainer.evaluation.encode import BATCH, exact
from finetune_trainer.pipeline.encode import encode_pictures, open_model
from finetune_trainer.pipeline.world import World
from finetune_trainer.progress import Silent
from support import TRIALS, alternate, arguments, describe_machine, finish, spread

GOAL = 1.1
"""Times the bare pass."""
SIZE = (500, 375)
PICTURES = 1024
"""On a GPU; a CPU takes a quarter, as its figures do not depend on the start."""


def write_pictures(folder: Path, count: int) -> None:
    """Smooth ground with fine noise: it compresses as photographs do, to about 100 KB."""
    random = np.random.default_rng(0)
    for index in range(count):
        coarse = Image.fromarray(random.integers(0, 255, (9, 12, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        noisy = np.asarray(coarse, np.int16) + random.integers(-12, 13, (SIZE[1], SIZE[0], 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{index:05d}.jpg", quality=90)


def main() -> None:
    quick = arguments(__doc__ or "").quick
    world = World(os.environ, Silent(), None, Path(tempfile.gettempdir()), "benchmarks/encode.py")
    model, device = open_model(Model.model_validate({"name": "ViT-B-32", "weights": {"random": {}}}), world)
    count = BATCH if quick else PICTURES if device.type == "cuda" else PICTURES // 4
    module: Any = model.module
    batch = torch.zeros(BATCH, 3, *model.preprocess.size, device=device)

    def bare() -> None:
        with exact(module, device):
            for _ in range(count // BATCH):
                module.encode_image(batch)
            if device.type == "cuda":
                torch.cuda.synchronize()

    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), count)
        rows = open_pictures("SOURCE", DataSource(uri=path_to_uri(Path(folder))), folder, open_store)

        def encode() -> None:
            encode_pictures(model, rows, "SOURCE", device=device, progress=Silent())

        bare()
        encode()
        encoded, passed = alternate(encode, bare, 2 if quick else TRIALS)
    ratios = [one / other for one, other in zip(encoded, passed, strict=True)]
    figures = {
        "machine": describe_machine("torch", "open_clip_torch", "pillow"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "quick": quick,
        "pictures": count,
        "encode_s": spread(encoded),
        "bare_s": spread(passed),
        "ratio": spread(ratios),
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    finish("encode", figures, {"ratio": GOAL}, quick or statistics.median(ratios) <= GOAL)


if __name__ == "__main__":
    main()
