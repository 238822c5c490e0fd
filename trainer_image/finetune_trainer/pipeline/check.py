"""`finetune run --check`: everything that can go wrong before training, and what the run will take. Trains nothing.

Pictures that are read here stay in the cache, so that the run that follows reads none. output.uri is only looked at.
"""

import os
from dataclasses import dataclass

from finetune_sdk.api import FinetuneRun
from finetune_trainer.data.prepare import Dataset, Limits, prepare_data
from finetune_trainer.evaluation.measure import headline, resolve_ks
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.freeze import freeze
from finetune_trainer.model.load import load_model
from finetune_trainer.model.lora import add_lora
from finetune_trainer.pipeline.begin import known_record, open_output
from finetune_trainer.pipeline.costs import Costs, estimate
from finetune_trainer.pipeline.data import room_of
from finetune_trainer.pipeline.documents import read_document
from finetune_trainer.pipeline.hardware import choose_device, device_memory, keep_freed_memory
from finetune_trainer.pipeline.layout import PREPARE
from finetune_trainer.pipeline.training import check_training
from finetune_trainer.pipeline.world import World
from finetune_trainer.records import DataReport
from finetune_trainer.training.defaults import DeviceTraits, ResolvedTraining, model_traits, resolve_training
from finetune_trainer.training.precision import device_capability, make_deterministic


@dataclass(frozen=True)
class Checked:
    """A run that could begin."""

    report: DataReport
    resolved: ResolvedTraining
    metric: str
    device: str
    begun: bool
    """Whether output.uri holds an attempt of this run already."""
    costs: Costs
    context_length: int
    """Tokens that the model reads of a caption."""


@device_memory()
def check_run(run: FinetuneRun, world: World) -> Checked:
    """Read all data, load the model and try a step whose result is thrown away.

    Raises:
        FinetuneError: what would end the run before it trains, with the same message and exit code.
    """
    spec = run.spec
    device, why = choose_device(world.env, spec.compute.gpus_per_node, ordered=world.gpus_are_ordered)
    world.progress.note(why)
    output = open_output(spec.output.uri, world)
    begun = known_record(run, output) is not None
    make_deterministic(device, os.environ)
    keep_freed_memory(device)
    model = load_model(
        spec.model, stores=world.open, cache_root=world.cache_root, device=device, seed=spec.training.seed
    )
    dataset = prepare_data(
        spec.data,
        model.preprocess,
        seed=spec.training.seed,
        cache_root=world.cache_root,
        stores=world.open,
        progress=world.progress,
        limits=Limits(model.tokenize, model.context_length),
        room=room_of(read_document(output, PREPARE, DataReport), world),
    )
    ks, notes = resolve_ks(spec.evaluation.recall_at, len(dataset.test.images))
    notes = [*notes, *model.notes, *freeze(model, spec.training.freeze)]
    resolved, more = _resolve(run, model, dataset, device.type, device_capability(device))
    if spec.training.lora is not None:
        more.append(add_lora(model, spec.training.lora, spec.training.seed))
    for note in (*notes, *more):
        world.progress.note(note)
    costs = estimate(model, dataset, resolved, spec, device)
    metric = headline(spec.evaluation.metric, ks)
    return Checked(dataset.report, resolved, metric, device.type, begun, costs, model.context_length)


def _resolve(
    run: FinetuneRun, model: ClipModel, dataset: Dataset, device: str, capability: int
) -> tuple[ResolvedTraining, list[str]]:
    check_training(model, run.spec.training)
    return resolve_training(
        run.spec.training,
        every=run.spec.evaluation.every,
        n_images=len(dataset.train.images),
        model=model_traits(model),
        device=DeviceTraits(device, capability),
    )
