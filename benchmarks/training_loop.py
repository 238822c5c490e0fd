"""P1: the whole training loop against the bare step on tensors in memory.

    OMP_NUM_THREADS=2 python benchmarks/training_loop.py [--quick]

The loop reads a picture cache through the real loader and leaves metrics and progress. The bare step is what one would
write by hand: open_clip's module and loss, AdamW, clipping; it leaves captions' padding out as the loop does. Same
weights, pairs, loss, optimizer and dtype, and losses within 1 % are asserted. No checkpoint is saved: what those cost
is measured for itself. It runs where a run would, on a GPU where there is one: there in batches of 256, with the
precision and the loader that a run has on it, and held against a bare step that need not be reproducible.
"""

import os
import statistics
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import open_clip
import torch
from open_clip.loss import ClipLoss
from PIL import Image as Picture
from torch import Tensor
from torch.nn.functional import normalize

from finetune_sdk.api.training import Training
from finetune_sdk.storage import open_store
from finetune_trainer.checkpoint.saver import Checkpoints
from finetune_trainer.data.batches import TrainBatches, normalise
from finetune_trainer.data.pixels import PixelWriter
from finetune_trainer.data.types import Image, Split
from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.clip import ClipModel, Preprocess
from finetune_trainer.model.padding import encode_text, without_padding
from finetune_trainer.pipeline.hardware import choose_device, keep_freed_memory, loads_in_processes
from finetune_trainer.pipeline.training import MAX_WORKERS
from finetune_trainer.training.defaults import DeviceTraits, ResolvedTraining, model_traits, resolve_training
from finetune_trainer.training.loop import Cadence, TrainJob, train
from finetune_trainer.training.precision import autocast_of, device_capability, make_deterministic
from finetune_trainer.training.schedule import learning_rate
from support import TRIALS, arguments, describe_machine, finish, spread

GOAL = 0.97
"""Steps a second of the loop, as a share of the bare step's."""
CPU_BATCH, GPU_BATCH = 8, 256
N_PICTURES = 1024
TINY: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 128, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


class _Enough(BaseException):
    """Ends the loop after the last timed step, before it would save."""


class NoStop:
    """Nobody asks to stop."""

    requested = False


@dataclass
class Listener:
    """Leaves a line a step, as a log does, and notes when each step ended."""

    log: TextIO
    last: int
    ends: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        print(stage, total, unit, done, file=self.log)

    def advance(self, amount: int = 1, **figures: float) -> None:
        self.ends.append(time.perf_counter())
        self.losses.append(figures["loss"])
        print(len(self.ends), amount, figures, file=self.log, flush=True)
        if len(self.ends) == self.last:
            raise _Enough

    def note(self, message: str) -> None:
        print(message, file=self.log)


def make_split(folder: Path, preprocess: Preprocess) -> Split:
    """Pictures of 640 x 480 with coarse noise, and a caption each."""
    draw, images = np.random.default_rng(0), []
    with PixelWriter(folder / "pixels", preprocess, whole=True) as writer:
        for number in range(N_PICTURES):
            noise = Picture.fromarray(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            picture = noise.resize((640, 480), Picture.Resampling.BICUBIC)
            writer.append(writer.make(np.array(picture), None))
            name = f"{number}.png"
            images.append(Image(name, name, (f"a noisy picture, number {number}",), name, name, number))
        pixels = writer.close()
    return Split("train", tuple(images), pixels)


def run_loop(
    model: ClipModel,
    split: Split,
    resolved: ResolvedTraining,
    folder: Path,
    steps: int,
    workers: int,
    *,
    processes: bool,
) -> Listener:
    """The product: `train` until `steps` steps are done, with so many threads or `processes` that load."""
    batches = TrainBatches(
        split,
        model.tokenize,
        model.preprocess,
        seed=resolved.seed,
        batch_size=resolved.batch_size,
        workers=workers,
        processes=processes,
    )
    job = TrainJob(model, batches, resolved, lambda _model, _step: (0.0, {}), Cadence(None, None))
    store = open_store((folder / "output").as_uri())
    with (folder / "log").open("w") as log:
        listener = Listener(log, steps)
        checkpoints = Checkpoints(store, keep=1, guard=lambda: None, scratch=folder, note=listener.note)
        try:
            train(job, checkpoints, stop=NoStop(), progress=listener, clock=time.monotonic)
        except _Enough:
            return listener
    raise AssertionError("the loop ended before its last timed step")


def run_bare(model: ClipModel, pairs: list[tuple[Tensor, Tensor]], resolved: ResolvedTraining) -> Listener:
    """The least that trains the same."""
    module: Any = model.module
    module.train()
    autocast = autocast_of(resolved.precision, pairs[0][0].device)
    named = dict(module.named_parameters())
    plain = [name for name, value in named.items() if value.ndim < 2 or "positional" in name]
    groups = [
        {"params": [value for name, value in named.items() if name not in plain], "weight_decay": 0.1},
        {"params": [named[name] for name in plain], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=resolved.betas, eps=resolved.epsilon, fused=True)
    loss_of, ends, losses = ClipLoss(), [], []
    for step, (images, tokens) in enumerate(pairs):
        optimizer.zero_grad()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(
                step,
                peak=resolved.learning_rate,
                warmup_steps=resolved.warmup_steps,
                total_steps=resolved.total_steps,
            )
        with autocast():
            texts = normalize(encode_text(module, tokens), dim=-1)
            pictures = module.encode_image(images, normalize=True)
        loss = loss_of(pictures.float(), texts.float(), module.logit_scale.exp())
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(module.parameters(), resolved.clip_norm)
        optimizer.step()
        with torch.no_grad():
            module.logit_scale.clamp_(max=np.log(100))
        losses.append(loss.item())
        ends.append(time.perf_counter())
    with tempfile.TemporaryFile("w") as log:
        return Listener(log, len(pairs), ends, losses)


def compare(folder: Path, device: torch.device, *, quick: bool) -> tuple[list[float], list[float], float]:
    """Seconds a step of the loop and of the bare step, a pair a trial, and how far their losses are apart."""
    warm, timed, trials = (2, 3, 2) if quick else (5, 20, TRIALS)
    config = TINY if quick else open_clip.get_model_config("ViT-B-32")
    base = assemble(config, {}, name="ViT-B-32", source="random", files=None, device=device)
    split = make_split(folder, base.preprocess)
    training = Training(steps=warm + timed + 1, batch_size=CPU_BATCH if device.type == "cpu" else GPU_BATCH)
    traits = DeviceTraits(device.type, device_capability(device))
    resolved, _ = resolve_training(training, every=10**9, n_images=N_PICTURES, model=model_traits(base), device=traits)
    ours, theirs, apart = [], [], 0.0
    for trial in range(trials):
        place = folder / str(trial)
        place.mkdir()
        make_deterministic(device, os.environ)
        workers, processes = min(MAX_WORKERS, os.cpu_count() or 1), loads_in_processes(device)
        loop = run_loop(deepcopy(base), split, resolved, place, warm + timed, workers, processes=processes)
        pairs = load_pairs(base, split, resolved.batch_size, warm + timed, device)
        torch.use_deterministic_algorithms(False)
        bare = run_bare(deepcopy(base), pairs, resolved)
        ours.append((loop.ends[-1] - loop.ends[warm - 1]) / timed)
        theirs.append((bare.ends[-1] - bare.ends[warm - 1]) / timed)
        apart = max(apart, *(abs(a / b - 1) for a, b in zip(loop.losses, bare.losses, strict=True)))
        print(f"trial {trial + 1}: loop {ours[-1]:.4f} s a step, bare {theirs[-1]:.4f} s", flush=True)
    return ours, theirs, apart


def load_pairs(
    model: ClipModel, split: Split, batch_size: int, steps: int, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """The same pairs as the loop's, as tensors in the device's memory, captions without their padding."""
    batches = TrainBatches(split, model.tokenize, model.preprocess, seed=0, batch_size=batch_size, workers=4)
    return [
        (
            normalise(batch.images.to(device), model.preprocess),
            without_padding(model.module, batch.tokens).to(device),
        )
        for batch in batches.iterate(0, steps)
    ]


def main() -> None:
    quick = arguments(__doc__ or "").quick
    device, where = choose_device(os.environ, gpus_wished=1)
    print(where, flush=True)
    keep_freed_memory(device)  # as every run on a CPU does; it serves both sides
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, apart = compare(Path(folder), device, quick=quick)
    assert apart < 0.01, f"the losses are {apart:.2%} apart: the two sides do not do the same"
    ratios = [bare / loop for loop, bare in zip(ours, theirs, strict=True)]
    figures = {
        "machine": {**describe_machine("torch", "open_clip_torch"), "device": where},
        "quick": quick,
        "loop_s_per_step": spread(ours),
        "bare_s_per_step": spread(theirs),
        "ratio": spread(ratios),
        "losses_apart": apart,
    }
    finish("training_loop", figures, {"ratio": GOAL}, quick or statistics.median(ratios) >= GOAL)


if __name__ == "__main__":
    main()
