"""The documents that a run leaves under `output.uri`, as one module of types: who writes and who reads agree here.

Floats are plain recall (0.42 is 42 %), times are UTC in RFC 3339, durations are seconds.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from finetune_sdk.api.base import Schema

Recalls = dict[str, float]
"""CLIP Benchmark's names to recall: {"image_retrieval_recall@5": 0.42, "text_retrieval_recall@5": 0.4}."""


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


Told = Annotated[str, BeforeValidator(_whole)]
"""A text in which names of files stand, which may hold what is no UTF-8; such bytes become question marks."""


class Problem(Schema):
    """One bad row, or one kind of oddity that was counted."""

    kind: str
    """missing-image, broken-image, empty-image, huge-image, empty-caption, no-caption, bad-row, ..."""
    where: Told
    """File and row: 'captions.csv:17'."""
    detail: Told


class Leak(Schema):
    """A training picture that is also, or nearly, in the test or validation set."""

    train: Told
    other: Told
    """`where` of the picture in the other split."""
    split: str
    kind: Literal["bytes", "pixels", "near"]


class SplitSummary(Schema):
    """How large a split is and what identifies it."""

    images: int
    captions: int
    digest: str
    """SHA-256 over each image's pixels digest and captions, in order: equal for one set in any format."""


class DataReport(Schema):
    """prepare.json: what the data is and what was wrong with it."""

    splits: dict[str, SplitSummary]
    """By name: train, validation, test."""
    rows_read: int
    rows_bad: int
    problems: list[Problem]
    """The first 1,000 bad rows."""
    oddities: dict[str, int] = Field(default_factory=dict)
    """Counted and used all the same: exif-rotated, cmyk, alpha, animated, truncated-caption, duplicate-row, ..."""
    leaks: list[Leak] = Field(default_factory=list)
    """The first 1,000."""
    leaks_total: int = 0
    leakage: Literal["drop", "report"]
    cache_bytes: int = 0
    pictures: Literal["raw", "jpeg"] = "raw"
    """How whole training pictures are kept; every attempt of a run keeps them so."""
    pixel_bytes: int = 0
    """What the cache would take if all pictures were raw."""


class Interval(Schema):
    """A paired bootstrap interval; `low` and `high` bound the central 95 %."""

    low: float
    high: float
    draws: int
    images: int


class Ties(Schema):
    """How far equal scores leave a figure open."""

    queries: int
    """Queries whose best positive ties with another candidate."""
    optimistic: Recalls
    pessimistic: Recalls


class Evaluation(Schema):
    """evaluation/before.json and after.json: CLIP Benchmark's result document, and what makes it checkable."""

    dataset: str
    model: str
    pretrained: str
    task: Literal["zeroshot_retrieval"] = "zeroshot_retrieval"
    metrics: Recalls
    language: str = "en"
    queries_digest: str
    """SHA-256 over the candidates' pixels digests and the captions, in order: equal before and after."""
    images: int
    captions: int
    ties: Ties
    weights_digest: str


class Candidate(Schema):
    """One set of weights that selection looked at, on validation."""

    step: int
    alpha: float
    """WiSE-FT: (1 - alpha) x base + alpha x fine-tuned (Wortsman et al. 2022, arXiv:2109.01903)."""
    score: float
    """Mean of image and text recall at 1 and 5."""
    recalls: Recalls


class Selection(Schema):
    """select.json: which weights became the model, and why."""

    base: Candidate
    candidates: list[Candidate]
    chosen: Candidate
    standard_error: float
    """Paired, of chosen minus base, over validation images; with `no_gain`, of the best candidate minus base."""
    no_gain: bool


class MetricChange(Schema):
    """A metric before and after, on the same queries."""

    before: float
    after: float
    gain: float
    interval95: Interval


class GateResult(Schema):
    """The gate's verdict in words."""

    passed: bool
    message: str


class QueryExample(Schema):
    """A query whose rank changed, and what it found before and after, as keys into Examples.thumbnails."""

    caption: str
    image: str
    rank_before: int
    """1 is best."""
    rank_after: int
    top_before: list[str]
    top_after: list[str]


class Examples(Schema):
    """evaluation/examples.json: what the report shows of single queries."""

    wins: list[QueryExample]
    losses: list[QueryExample]
    thumbnails: dict[str, str]
    """Image name to a base64 JPEG of at most 128 px a side."""


class Outcome(Schema):
    """result.json, written last: a run is complete if and only if it is there."""

    version: Literal[1] = 1
    digest: str
    """Of the spec, as in run.json."""
    metric: str
    """The headline metric."""
    changes: dict[str, MetricChange]
    """Every metric, both directions and all k."""
    verdict: Literal["Improved", "NoGain", "Worse", "Inconclusive"]
    """Improved or Worse: the headline's interval excludes 0. NoGain: the base was the best, and is the model."""
    sentence: str
    """The verdict as one sentence for a person."""
    selection: Selection
    steps: int
    model_uri: str
    report_uri: str
    weights_digest: str
    timings: dict[str, float]
    """Seconds by stage, over all attempts."""
    notes: list[str]
    completed_at: datetime


class Hardware(Schema):
    """Where a run ran."""

    device: str
    device_name: str
    cpus: int
    threads: int
    memory_bytes: int
    world_size: int = 1


class RunRecord(Schema):
    """run.json, written first: what was asked, what that resolved to, and where it ran."""

    version: Literal[1] = 1
    run: str
    """metadata.name."""
    digest: str
    """Of what changes weights or figures in the spec; see DESIGN section 4."""
    spec: dict[str, Any]
    """As the user wrote it; of compute.env the names only."""
    resolved: dict[str, Any]
    """Every value that training used, defaults filled in."""
    versions: dict[str, str]
    hardware: Hardware
    started_at: datetime


class StepMetrics(Schema):
    """A line of metrics.jsonl. Holds nothing that differs between two equal runs."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    logit_scale: float
    gradient_norm: float
    validation: Recalls | None = None
    """Where validation was evaluated after this step; with "score", the selection score."""
