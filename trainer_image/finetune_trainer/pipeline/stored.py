"""A run as it is found in storage."""

from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Store
from finetune_trainer.pipeline.documents import read_document
from finetune_trainer.pipeline.layout import RUN
from finetune_trainer.records import RunRecord


def read_run(output: Store) -> RunRecord:
    """run.json. Raises DataInvalid where no run began."""
    run = read_document(output, RUN, RunRecord)
    if run is None:
        raise DataInvalid(f"{output.uri} holds no run.json: give the output.uri of a run that was started")
    return run


def spec_of(run: RunRecord) -> FinetuneRunSpec:
    """The spec in run.json, without compute: of its environment only the names are kept, which would not validate."""
    return FinetuneRunSpec.model_validate({key: value for key, value in run.spec.items() if key != "compute"})
