"""Any model on any source, by itself."""

import os
from collections.abc import Sequence

import torch

from finetune_sdk.api.data import MAX_BAD_FRACTION, Data, DataSource
from finetune_sdk.api.model import Model
from finetune_trainer.data.prepare import Limits, prepare_data, prepare_test
from finetune_trainer.data.types import Split
from finetune_trainer.evaluation.measure import measure, resolve_ks
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.load import load_model
from finetune_trainer.pipeline.data import bad_rows_notes, room_of
from finetune_trainer.pipeline.hardware import choose_device, device_memory, keep_freed_memory
from finetune_trainer.pipeline.world import World
from finetune_trainer.records import DataReport, Evaluation
from finetune_trainer.training.precision import make_deterministic

RECALL_AT = "--recall-at"
"""What messages call the k."""


@device_memory()
def evaluate_by_itself(
    model: Model,
    data: DataSource | Data,
    ks: Sequence[int] | None,
    world: World,
    seed: int = 0,
    ks_field: str = RECALL_AT,
) -> Evaluation:
    """Measure `model` on all of a source, or on the test set of a run's data.

    `ks` None: 1, 5 and 10 as far as there are candidates; `ks_field` is where they are written. `seed`: the
    run's, from which random weights are drawn.

    Raises:
        FinetuneError: as a run's baseline would.
    """
    device = ready_device(world)
    loaded = load_model(model, stores=world.open, cache_root=world.cache_root, device=device, seed=seed)
    split = prepared(loaded, data, world, seed)
    resolved, notes = resolve_ks(ks, len(split.images), field=ks_field)
    for note in notes:
        world.progress.note(note)
    return measure(loaded, split, resolved, device=device, progress=world.progress, stage="evaluate").evaluation


def prepared(model: ClipModel, data: DataSource | Data, world: World, seed: int = 0) -> Split:
    """All of a source, or the test set of a run's data, as `model` sees it; bad rows are told.

    Raises FinetuneError, naming --data or the field of the run.
    """
    if isinstance(data, DataSource):
        split, report = _whole(model, data, world, field="--data", most_bad=MAX_BAD_FRACTION)
    elif data.test is not None:
        split, report = _whole(model, data.test, world, field="data.test", most_bad=data.max_bad_fraction)
    else:
        dataset = prepare_data(
            data,
            model.preprocess,
            seed=seed,
            cache_root=world.cache_root,
            stores=world.open,
            progress=world.progress,
            limits=Limits(model.tokenize, model.context_length),
            room=room_of(None, world),
        )
        split, report = dataset.test, dataset.report
    for note in bad_rows_notes(report):
        world.progress.note(note)
    return split


def _whole(
    model: ClipModel, source: DataSource, world: World, *, field: str, most_bad: float
) -> tuple[Split, DataReport]:
    return prepare_test(
        source,
        model.preprocess,
        cache_root=world.cache_root,
        stores=world.open,
        progress=world.progress,
        max_bad_fraction=most_bad,
        field=field,
        limits=Limits(model.tokenize, model.context_length),
    )


def ready_device(world: World) -> torch.device:
    """The device to measure on, made deterministic, and told. Raises GpuUnavailable, InvalidSpec."""
    device, why = choose_device(world.env, gpus_wished=1)
    world.progress.note(why)
    make_deterministic(device, os.environ)
    keep_freed_memory(device)
    return device
