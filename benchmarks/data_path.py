"""P2: pictures from disk to trained steps, ours against open_clip_train on the same CSV, and against the bare step.

    OMP_NUM_THREADS=1 python benchmarks/data_path.py [--quick]

Pictures are parts of two photographs, 640 x 480, as JPEG. Epoch 1 counts all that comes before it: our preparation
(read, hash, look for leaks, decode, cache), their reading of the table. Both sides load with 2 workers and train the
same random weights on as many pairs with the same batch; the bare step trains on an epoch of our tensors in memory,
and leaves the captions' padding out as our loop does. One thread computes, so that loading has the other core, as it
has beside a GPU, and ours loads as it does there: in processes, and with the whole batch at once in the step. What both
import is imported before, and so is what our processes are forked from, which a run starts first of all. What the cache
takes is told, and how the JPEG cache does.
"""

import csv
import tempfile
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip_train.data import get_csv_dataset
from open_clip_train.distributed import init_distributed_device
from open_clip_train.params import parse_args
from open_clip_train.scheduler import cosine_lr
from open_clip_train.train import train_one_epoch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from finetune_sdk.api.data import Data
from finetune_sdk.api.training import Training
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.prepare import Dataset, prepare_data
from finetune_trainer.data.processes import start_server
from finetune_trainer.data.room import Room
from finetune_trainer.data.types import Form
from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.pipeline.hardware import keep_freed_memory
from finetune_trainer.progress import Silent
from finetune_trainer.training.defaults import DeviceTraits, ResolvedTraining, model_traits, resolve_training
from support import arguments, describe_machine, finish, spread
from training_loop import load_pairs, run_bare, run_loop

GOAL = {"resnet_epoch_1": 1.2, "resnet_later": 2.3, "vit_later": 1.6, "resnet_of_bare": 0.9, "vit_of_bare": 0.9}
"""Times as fast as open_clip_train; of_bare: the bare step's time as a share of ours in later epochs."""
WORKERS = 2
CONTEXT = 77
"""As CLIP has; a caption here takes 11."""
TEXT = {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 4, "head_width": 32, "patch_size": None}
VIT = {"image_size": 224, "layers": 2, "width": 96, "head_width": 32, "patch_size": 32}
MODELS: dict[str, dict[str, Any]] = {  # one and three milliseconds a pair on one core: what loading costs shows
    "resnet": {"embed_dim": 64, "vision_cfg": RESNET, "text_cfg": TEXT},
    "vit": {"embed_dim": 64, "vision_cfg": VIT, "text_cfg": TEXT},
}


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    pictures: int
    batch: int
    epochs: int
    trials: int

    @property
    def steps(self) -> int:
        """Of an epoch; the pictures left over are dropped on both sides."""
        return self.pictures // self.batch


FULL = Scale(pictures=4000, batch=128, epochs=2, trials=2)
QUICK = Scale(pictures=64, batch=16, epochs=2, trials=1)


@dataclass(frozen=True)
class Epochs:
    """Seconds of the first epoch with all before it, and of each later one."""

    first: float
    later: float


def write_tables(folder: Path, count: int) -> dict[str, Path]:
    """Tables of pictures by split: `count` to train on, and a few to validate and test, for which nothing is timed."""
    draw = np.random.default_rng(0)
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    tables = {}
    for split, amount in (("train", count), ("validation", 8), ("test", 8)):
        tables[split] = folder / f"{split}.csv"
        (folder / split).mkdir()
        with tables[split].open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["filepath", "title"])
            for number in range(amount):
                path = folder / split / f"{number:05d}.jpg"
                a_part(photographs[number % len(photographs)], draw).save(path, quality=90)
                rows.writerow([str(path), f"part {number} of a photograph for {split}"])
    return tables


def a_part(photograph: Image.Image, draw: np.random.Generator) -> Image.Image:
    """Four fifths or more of a photograph, some of them mirrored, as 640 x 480 pixels."""
    share = draw.uniform(0.8, 1.0)
    height = photograph.height * share
    width = height * 4 / 3
    left, top = draw.uniform(0, photograph.width - width), draw.uniform(0, photograph.height - height)
    box = (left, top, left + width, top + height)
    part = photograph.resize((640, 480), Image.Resampling.BICUBIC, box=box)
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else part


def prepare(tables: dict[str, Path], base: ClipModel, cache: Path, form: Form) -> Dataset:
    """The data as a run reads it, with an empty cache. All parts are alike, so leaks are reported and kept."""
    columns = {"image": "filepath", "caption": "title"}
    given = {split: {"uri": path_to_uri(path), "columns": columns} for split, path in tables.items()}
    data = Data.model_validate({**given, "leakage": "report"})
    return prepare_data(
        data, base.preprocess, seed=0, cache_root=cache, stores=open_store, progress=Silent(), room=Room(form=form)
    )


def run_ours(
    base: ClipModel, tables: dict[str, Path], resolved: ResolvedTraining, scale: Scale, form: Form
) -> tuple[Epochs, int, list[tuple[Tensor, Tensor]]]:
    """The product: seconds, bytes of the cache, and some of the pairs that it trained on."""
    with tempfile.TemporaryDirectory() as place:
        model = deepcopy(base)
        begun = time.perf_counter()
        dataset = prepare(tables, base, Path(place), form)
        steps = scale.epochs * scale.steps
        ends = run_loop(model, dataset.train, resolved, Path(place), steps, WORKERS, processes=True).ends
        first = ends[scale.steps - 1]
        pairs = load_pairs(base, dataset.train, scale.batch, scale.steps, torch.device("cpu"))
        epochs = Epochs(first - begun, (ends[-1] - first) / (scale.epochs - 1))
        return epochs, dataset.report.cache_bytes, pairs


def run_theirs(base: ClipModel, table: Path, resolved: ResolvedTraining, scale: Scale) -> Epochs:
    """open_clip_train's own loader and epoch, with its settings for one CPU."""
    wanted = ["--train-data", str(table), "--csv-separator", ",", "--batch-size", str(scale.batch), "--device", "cpu"]
    args = parse_args([*wanted, "--workers", str(WORKERS), "--precision", "fp32"])
    init_distributed_device(args)
    args.distill, args.wandb = False, False
    module: Any = deepcopy(base.module)
    module.output_dict = True
    optimizer = torch.optim.AdamW(module.parameters(), lr=resolved.learning_rate, betas=resolved.betas)
    schedule = cosine_lr(optimizer, resolved.learning_rate, resolved.warmup_steps, scale.epochs * scale.steps)
    shape = base.preprocess
    transform = image_transform_v2(PreprocessCfg(shape.size, mean=shape.mean, std=shape.std), is_train=True)
    ends = [time.perf_counter()]
    tokenize = open_clip.SimpleTokenizer(context_length=CONTEXT)
    data = {"train": get_csv_dataset(args, transform, is_train=True, tokenizer=tokenize)}
    for epoch in range(scale.epochs):
        train_one_epoch(module, data, open_clip.ClipLoss(), epoch, optimizer, None, schedule, None, args)
        ends.append(time.perf_counter())
    return Epochs(ends[1] - ends[0], (ends[-1] - ends[1]) / (scale.epochs - 1))


def bare_step(base: ClipModel, pairs: list[tuple[Tensor, Tensor]], resolved: ResolvedTraining) -> float:
    """Seconds; the first step allocates and is left out."""
    ends = run_bare(deepcopy(base), pairs, resolved).ends
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def measure(name: str, tables: dict[str, Path], scale: Scale) -> dict[str, Any]:
    """All sides in turn, `scale.trials` times."""
    base = assemble(MODELS[name], {}, name=name, source="random", files=None)
    training = Training(steps=scale.epochs * scale.steps + 1, batch_size=scale.batch, micro_batch_size=scale.batch)
    resolved, _ = resolve_training(
        training, every=10**9, n_images=scale.pictures, model=model_traits(base), device=DeviceTraits("cpu")
    )
    ours, jpeg, theirs, bare = [], [], [], []
    for trial in range(scale.trials):
        raw, raw_bytes, pairs = run_ours(base, tables, resolved, scale, "raw")
        ours.append(raw)
        bare.append(bare_step(base, pairs, resolved) * scale.steps)
        theirs.append(run_theirs(base, tables["train"], resolved, scale))
        encoded, jpeg_bytes, _ = run_ours(base, tables, resolved, scale, "jpeg")
        jpeg.append(encoded)
        print(f"{name}, trial {trial + 1}: ours {raw}, theirs {theirs[-1]}, bare {bare[-1]:.2f} s an epoch", flush=True)

    def ratios(of: Callable[[Epochs], float], side: list[Epochs]) -> dict[str, float]:
        return spread([of(their) / of(our) for our, their in zip(side, theirs, strict=True)])

    return {
        "cache_mb": {"raw": round(raw_bytes / 1e6, 1), "jpeg": round(jpeg_bytes / 1e6, 1)},
        "bare_epoch_s": spread(bare),
        "later_epoch_s": {
            side: spread([epochs.later for epochs in all_epochs])
            for side, all_epochs in (("ours", ours), ("ours_jpeg", jpeg), ("theirs", theirs))
        },
        "epoch_1": ratios(lambda epochs: epochs.first, ours),
        "later": ratios(lambda epochs: epochs.later, ours),
        "of_bare": spread([step / epochs.later for step, epochs in zip(bare, ours, strict=True)]),
        "jpeg_epoch_1": ratios(lambda epochs: epochs.first, jpeg),
        "jpeg_later": ratios(lambda epochs: epochs.later, jpeg),
        "jpeg_of_bare": spread([step / epochs.later for step, epochs in zip(bare, jpeg, strict=True)]),
    }


def main() -> None:
    quick = arguments(__doc__ or "").quick
    scale = QUICK if quick else FULL
    start_server()
    warnings.filterwarnings("ignore", "'pin_memory' argument is set as true", UserWarning)  # theirs, on a CPU
    keep_freed_memory(torch.device("cpu"))  # as every run on a CPU does; it serves both sides
    with tempfile.TemporaryDirectory() as folder:
        tables = write_tables(Path(folder), scale.pictures)
        pictures = sum(path.stat().st_size for path in (Path(folder) / "train").iterdir())
        measured = {name: measure(name, tables, scale) for name in MODELS}
    met = all(
        measured[goal.partition("_")[0]][goal.partition("_")[2]]["median"] >= least for goal, least in GOAL.items()
    )
    figures = {
        "machine": describe_machine("torch", "open_clip_torch", "pillow"),
        "quick": quick,
        "pictures_mb": round(pictures / 1e6, 1),
        **measured,
    }
    finish("data_path", figures, GOAL, quick or met)


if __name__ == "__main__":
    main()
