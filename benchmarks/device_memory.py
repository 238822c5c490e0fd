"""What a training step holds of a GPU's memory, against what `finetune models` says that it takes.

    python benchmarks/device_memory.py [--quick]

A whole step with AdamW's averages in memory, in bf16, on a CUDA device; random weights, noise for pictures and words.
Measured is the most that torch had in use: the driver's own and what the allocator keeps beside come on top.
"""

import gc
import sys
from dataclasses import dataclass

import open_clip
import torch

from finetune_sdk.api.training import Training
from finetune_sdk.cli.models import load_catalogue, memory_bytes
from finetune_trainer.data.batches import Batch
from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.training.defaults import DeviceTraits, model_traits, resolve_training
from finetune_trainer.training.memory import Fit
from finetune_trainer.training.precision import device_capability
from finetune_trainer.training.state import TrainState
from support import arguments, describe_machine, finish

GOAL = {"least": 0.75, "most": 1.1}
"""Of measured to said: who reserves what is said has enough, or a tenth too little, and not far too much."""
ARCHITECTURES = ("ViT-B-32", "ViT-B-16-plus-240", "ViT-L-14", "RN50", "convnext_base", "coca_ViT-B-32")
BATCH = 64


@dataclass(frozen=True)
class Memory:
    """Of one architecture, in bytes."""

    said: int
    measured: int


def noise(model: ClipModel, context: int, vocabulary: int, device: torch.device) -> Batch:
    """A batch of pairs that all differ."""
    pictures = torch.randint(256, (BATCH, *model.preprocess.size, 3), dtype=torch.uint8)
    tokens, ids = torch.randint(vocabulary, (BATCH, context)), torch.arange(BATCH)
    return Batch(0, pictures.to(device), tokens.to(device), ids, ids, 1.0)


def measure(name: str, device: torch.device) -> Memory:
    """One step: the averages are in memory from the start."""
    config = open_clip.get_model_config(name)
    assert config is not None
    entry = next(entry for entry in load_catalogue() if entry["name"] == name)
    model = assemble(config, {}, name=name, source="random", files=None, device=device)
    traits = DeviceTraits(device.type, device_capability(device))
    training = Training(steps=1, batch_size=BATCH)
    resolved, _ = resolve_training(training, every=1, n_images=BATCH, model=model_traits(model), device=traits)
    state = TrainState(model, resolved, Fit(BATCH, activation_checkpointing=False))
    batch = noise(model, entry["context"], config["text_cfg"].get("vocab_size", 49408), device)
    torch.cuda.reset_peak_memory_stats(device)
    state.update(batch)
    said = memory_bytes(entry, BATCH)
    assert said is not None
    return Memory(said, torch.cuda.max_memory_allocated(device))


def main() -> None:
    quick = arguments(__doc__ or "").quick
    if not torch.cuda.is_available():
        sys.exit("benchmarks/device_memory.py needs a CUDA device")
    device, found = torch.device("cuda"), {}
    for name in ARCHITECTURES[: 1 if quick else None]:
        found[name] = measure(name, device)
        gc.collect()
        torch.cuda.empty_cache()
        memory = found[name]
        share = memory.measured / memory.said
        print(f"{name}: {memory.measured / 1e9:.2f} GB, said are {memory.said / 1e9:.2f}: {share:.2f}", flush=True)
    shares = {name: memory.measured / memory.said for name, memory in found.items()}
    figures = {
        "machine": {**describe_machine("torch", "open_clip_torch"), "device": torch.cuda.get_device_name(device)},
        "quick": quick,
        "pairs": BATCH,
        "measured_gb": {name: memory.measured / 1e9 for name, memory in found.items()},
        "measured_to_said": shares,
    }
    finish("device_memory", figures, GOAL, all(GOAL["least"] <= share <= GOAL["most"] for share in shares.values()))


if __name__ == "__main__":
    main()
