"""The stage `prepare`: the data, and whether it is still what the run began with."""

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.jpeg import QUALITY
from finetune_trainer.data.prepare import Dataset, Limits, prepare_data
from finetune_trainer.data.room import Room, cache_limit
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.pipeline.attempt import Attempt
from finetune_trainer.pipeline.documents import read_document, write_document
from finetune_trainer.pipeline.layout import PREPARE
from finetune_trainer.pipeline.world import World
from finetune_trainer.records import DataReport
from finetune_trainer.report.text import byte_size


def prepare_stage(attempt: Attempt, model: ClipModel) -> Dataset:
    """Index, split and cache the data; the pictures are read again only where the local cache was lost.

    Raises:
        DataInvalid: the data is unusable, or is not what earlier attempts of this run were given.
    """
    before = read_document(attempt.output, PREPARE, DataReport)
    dataset = prepare_data(
        attempt.spec.data,
        model.preprocess,
        seed=attempt.spec.training.seed,
        cache_root=attempt.world.cache_root,
        stores=attempt.world.open,
        progress=attempt.progress,
        limits=Limits(model.tokenize, model.context_length),
        room=room_of(before, attempt.world),
    )
    if before is None:
        write_document(attempt.output, PREPARE, dataset.report)
    else:
        _check_unchanged(before, dataset.report, attempt.output.uri)
    _tell(attempt, dataset.report)
    return dataset


def room_of(before: DataReport | None, world: World) -> Room:
    """What decides how training pictures are kept: an earlier attempt's report, else the disk.

    Raises:
        UsageError: FINETUNE_CACHE_BYTES is no number.
    """
    return Room(form=None if before is None else before.pictures, limit=cache_limit(world.env))


def _check_unchanged(before: DataReport, now: DataReport, output: str) -> None:
    for name, summary in now.splits.items():
        was = before.splits[name]
        if was.digest != summary.digest:
            raise DataInvalid(
                f"the {name} data changed since this run began: {was.images} images and {was.captions} captions then, "
                f"{summary.images} and {summary.captions} now. Bring the old data back, or use another output.uri "
                f"than {output}"
            )


def _tell(attempt: Attempt, report: DataReport) -> None:
    sizes = ", ".join(f"{name} {summary.images} images" for name, summary in report.splits.items())
    captions = sum(summary.captions for summary in report.splits.values())
    attempt.progress.note(f"data: {sizes}; {captions} captions")
    for note in (*bad_rows_notes(report), *form_notes(report)):
        attempt.journal.note(note)


def bad_rows_notes(report: DataReport) -> list[str]:
    """What the user should know of rows that are left out."""
    if not report.rows_bad:
        return []
    first = report.problems[0]
    return [f"{report.rows_bad} of {report.rows_read} rows are left out, the first is {first.where} ({first.detail})"]


def form_notes(report: DataReport) -> list[str]:
    """What the user should know of pictures that are not kept as pixels."""
    if report.pictures == "raw":
        return []
    sizes = f"{byte_size(report.cache_bytes)} in place of {byte_size(report.pixel_bytes)}"
    return [f"training pictures are kept as JPEG (quality {QUALITY}), pixels did not fit the cache's disk: {sizes}"]
