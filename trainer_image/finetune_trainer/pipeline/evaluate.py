"""Any model on any source, by itself."""

import os
from collections.abc import Sequence

import torch

from finetune_sdk.api.data import DataSource
from finetune_sdk.api.model import Model
from finetune_trainer.data.prepare import Limits, prepare_test
from finetune_trainer.data.types import Split
from finetune_trainer.evaluation.measure import measure, resolve_ks
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.load import load_model
from finetune_trainer.pipeline.data import bad_rows_notes
from finetune_trainer.pipeline.hardware import choose_device, device_memory, keep_freed_memory
from finetune_trainer.pipeline.world import World
from finetune_trainer.records import Evaluation
from finetune_trainer.training.precision import make_deterministic


@device_memory()
def evaluate_by_itself(model: Model, source: DataSource, ks: Sequence[int] | None, world: World) -> Evaluation:
    """Measure `model` on all of `source`, at `ks` (None: 1, 5 and 10 as far as there are candidates).

    Raises:
        FinetuneError: as a run's baseline would.
    """
    device = ready_device(world)
    loaded = load_model(model, stores=world.open, cache_root=world.cache_root, device=device, seed=0)
    split = prepared(loaded, source, world)
    resolved, notes = resolve_ks(ks, len(split.images))
    for note in notes:
        world.progress.note(note)
    return measure(loaded, split, resolved, device=device, progress=world.progress, stage="evaluate").evaluation


def prepared(model: ClipModel, source: DataSource, world: World) -> Split:
    """All of `source` as `model` sees it; bad rows are told. Raises FinetuneError, naming --data."""
    split, report = prepare_test(
        source,
        model.preprocess,
        cache_root=world.cache_root,
        stores=world.open,
        progress=world.progress,
        field="--data",
        limits=Limits(model.tokenize, model.context_length),
    )
    for note in bad_rows_notes(report):
        world.progress.note(note)
    return split


def ready_device(world: World) -> torch.device:
    """The device to measure on, made deterministic, and told. Raises GpuUnavailable, InvalidSpec."""
    device, why = choose_device(world.env, gpus_wished=1)
    world.progress.note(why)
    make_deterministic(device, os.environ)
    keep_freed_memory(device)
    return device
