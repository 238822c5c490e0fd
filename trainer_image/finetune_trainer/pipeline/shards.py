"""The test set of a run as shards that CLIP Benchmark reads."""

from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.prepare import prepare_data
from finetune_trainer.data.shards import samples_of, write_shards
from finetune_trainer.model.load import load_model
from finetune_trainer.pipeline.data import room_of
from finetune_trainer.pipeline.documents import read_document
from finetune_trainer.pipeline.hardware import CPU
from finetune_trainer.pipeline.layout import PREPARE
from finetune_trainer.pipeline.stored import read_run, spec_of
from finetune_trainer.pipeline.world import World
from finetune_trainer.records import DataReport


def write_test_shards(world: World, output_uri: str, folder_uri: str) -> int:
    """Write the test set below `folder_uri`; how many pictures it holds. The pictures are as the model sees them.

    Raises:
        DataInvalid: there is no run, or its data is no longer what the run measured.
    """
    output = world.open(output_uri)
    spec: FinetuneRunSpec = spec_of(read_run(output))
    stores, seed = world.open, spec.training.seed
    model = load_model(spec.model, stores=stores, cache_root=world.cache_root, device=CPU, seed=seed)
    measured = read_document(output, PREPARE, DataReport)
    dataset = prepare_data(
        spec.data,
        model.preprocess,
        seed=seed,
        cache_root=world.cache_root,
        stores=stores,
        progress=world.progress,
        room=room_of(measured, world),
    )
    if measured is not None and measured.splits["test"].digest != dataset.report.splits["test"].digest:
        raise DataInvalid(f"the test data changed since {output_uri} was measured: its number cannot be had from it")
    write_shards(samples_of(dataset.test), world.open(folder_uri))
    return len(dataset.test.images)
