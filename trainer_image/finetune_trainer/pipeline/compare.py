"""Two models on one source, by the same queries."""

from collections.abc import Sequence

from finetune_sdk.api.base import Schema
from finetune_sdk.api.data import DataSource
from finetune_sdk.api.model import Model
from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.types import Split
from finetune_trainer.evaluation.measure import changes, measure, resolve_ks
from finetune_trainer.model.load import load_model
from finetune_trainer.pipeline.evaluate import RECALL_AT, prepared, ready_device
from finetune_trainer.pipeline.hardware import CPU, device_memory
from finetune_trainer.pipeline.world import World
from finetune_trainer.records import Evaluation, MetricChange
from finetune_trainer.report.text import count

SEED = 0
"""Of the intervals' draws: the same comparison gives the same bits."""


class Comparison(Schema):
    """What `finetune compare` writes."""

    first: Evaluation
    second: Evaluation
    changes: dict[str, MetricChange]
    """By metric: `before` is the first model's recall, `after` the second's."""


@device_memory()
def compare_models(
    models: tuple[Model, Model], source: DataSource, ks: Sequence[int] | None, world: World
) -> Comparison:
    """Measure both as `finetune evaluate` would, at `ks` (None: 1, 5 and 10 as far as there are candidates).

    Each model sees the pictures through its own preprocessing. Those that only one of them can take are left out.
    Raises FinetuneError: as a run's baseline would.
    """
    device = ready_device(world)
    # On the CPU until its turn, so that the device need not hold both.
    loaded = [load_model(model, stores=world.open, cache_root=world.cache_root, device=CPU, seed=0) for model in models]
    splits = [prepared(model, source, world) for model in loaded]
    first, second = shared_queries(splits[0], splits[1])
    if left := len(splits[0].images) + len(splits[1].images) - 2 * len(first.images):
        world.progress.note(f"{count(left, 'picture')} left out, which only one of the models can take")
    resolved, notes = resolve_ks(ks, len(first.images), field=RECALL_AT)
    for note in notes:
        world.progress.note(note)
    measured = []
    for name, split in (("first", first), ("second", second)):
        model = loaded.pop(0)
        model.module.to(device)
        measured.append(measure(model, split, resolved, device=device, progress=world.progress, stage=name))
        del model
    before, after = measured
    return Comparison(first=before.evaluation, second=after.evaluation, changes=changes(before, after, SEED))


def shared_queries(first: Split, second: Split) -> tuple[Split, Split]:
    """The pictures with their captions that both hold, in the order of `first`.

    A picture can be too long and thin for one model's input and not for the other's. Raises DataInvalid where none
    is left.
    """
    places = {_query(second, index): index for index in range(len(second.images))}
    both = [index for index in range(len(first.images)) if _query(first, index) in places]
    if not both:
        raise DataInvalid("--data: there is no picture that both models can take")
    return _part(first, both), _part(second, [places[_query(first, index)] for index in both])


def _query(split: Split, index: int) -> tuple[str, ...]:
    image = split.images[index]
    return (image.pixels_sha256, *image.captions)


def _part(split: Split, indices: Sequence[int]) -> Split:
    return Split(split.name, tuple(split.images[index] for index in indices), split.pixels.subset(indices))
