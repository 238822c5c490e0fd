"""spec.data: pictures and captions, and which of them are for training, for choosing and for the number."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_sdk.api.base import NO_NULLS
from finetune_sdk.api.types import Cell, ColumnName, Fraction, SpecModel, Uri

DataFormat = Literal[
    "auto", "csv", "tsv", "jsonl", "parquet", "coco", "karpathy", "flickr", "docarray", "webdataset", "folder"
]
MAX_BAD_FRACTION = 0.01
"""Of rows, pictures or texts that may be unusable, where nobody says otherwise."""


class Columns(SpecModel):
    """Which column, or key, holds what. Absent ones are found by their usual names."""

    image: ColumnName | None = None
    """The picture: its path below `images`, or its bytes."""
    caption: ColumnName | None = None
    """The caption."""
    split: ColumnName | None = None
    """The name of the row's split."""
    group: ColumnName | None = None
    """What must stay on one side of a split: a product, a scene, a person."""


class DataSource(SpecModel):
    """Pictures with captions in one place and one format."""

    uri: Uri
    """The table, the folder, or the shards, with braces: shard-{0000..0009}.tar."""
    format: DataFormat = "auto"
    """How it is written; auto looks."""
    images: Uri | None = None
    """The folder that paths in the table count from. Absent: the table's own."""
    columns: Columns = Columns()
    """The names of columns, where they are unusual."""
    where: Annotated[dict[ColumnName, Cell], Field(max_length=4), NO_NULLS] = Field(default_factory=dict)
    """Only rows with these values, such as {split: train}."""


class Data(SpecModel):
    """`source`, which is split by image hash; or train, test and perhaps validation."""

    source: DataSource | None = None
    """One set for everything; pictures with equal hash or group stay on one side."""
    train: DataSource | None = None
    """What the model learns from."""
    validation: DataSource | None = None
    """What checkpoints are chosen by. Absent: taken from train."""
    test: DataSource | None = None
    """What the figures before and after are measured on, and nothing else."""
    max_bad_fraction: Fraction = MAX_BAD_FRACTION
    """The share of rows that may be unusable before the run fails with DataInvalid."""
    leakage: Literal["drop", "report"] = "drop"
    """Training pictures that are also in test or validation: drop them from train, or only report them."""
