"""FinetuneRun's status: what the operator knows. Times are UTC in RFC 3339; figures are rounded to 4 decimals."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from finetune_sdk.api.base import Schema
from finetune_sdk.api.reasons import WAITING_FOR_OPERATOR, State

ConditionType = Literal[
    "Accepted",  # the spec can be run
    "Suspended",  # no pod is left, by suspend
    "Succeeded",  # the result is in storage
    "GatePassed",  # the gate's verdict; absent without a gate
    "ProgressReporting",  # the trainer's progress can be read
    "Reconciling",  # kstatus: present only while true, until the Job is accepted
    "Stalled",  # kstatus: present only while true, on terminal failure
]
ProgressStage = Literal["prepare", "baseline", "train", "select", "evaluate", "export"]


class Condition(Schema):
    """One of Kubernetes' conditions."""

    type: ConditionType
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(min_length=1, max_length=128)]
    """Why, as a word."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """Why, as a sentence."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation that it speaks of."""
    last_transition_time: datetime | None = None
    """When status last changed."""


class RunProgress(Schema):
    """Where the trainer is, as it last said."""

    stage: ProgressStage
    """The pipeline's stage."""
    epoch: Annotated[float, Field(ge=0)] | None = None
    """How often the data was seen, with its fraction."""
    step: Annotated[int, Field(ge=0)] | None = None
    """Optimizer updates done."""
    total_steps: Annotated[int, Field(ge=0)] | None = None
    """Optimizer updates planned."""
    percent: Annotated[float, Field(ge=0, le=100)] | None = None
    """Of the stage."""
    loss: float | None = None
    """Of the last step."""
    samples_per_second: Annotated[float, Field(ge=0)] | None = None
    """Pairs a second over all devices."""
    eta_seconds: Annotated[float, Field(ge=0)] | None = None
    """Estimated until the stage ends."""
    summary: str | None = None
    """Stage and percent as people read it: `train 42%`; the operator writes it."""
    updated_at: datetime | None = None
    """When the trainer said so."""


class RunEvaluation(Schema):
    """The outcome in figures."""

    metric: str
    """The headline metric."""
    before: Annotated[float, Field(ge=0, le=1)]
    """Recall of the base model on the test queries."""
    after: Annotated[float, Field(ge=0, le=1)] | None = None
    """Recall of the chosen model on the same queries."""
    gain: Annotated[float, Field(ge=-1, le=1)] | None = None
    """After minus before."""
    interval95: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """The gain's paired bootstrap interval over images, low and high."""
    verdict: Literal["Improved", "NoGain", "Worse", "Inconclusive"] | None = None
    """What the interval says."""


class CheckpointRef(Schema):
    """The newest whole checkpoint."""

    step: Annotated[int, Field(ge=0)]
    """The step after which it was taken."""
    uri: str
    """Where it lies."""


class PodRef(Schema):
    """One pod."""

    name: str
    """Its name, for kubectl logs."""
    uid: str
    """Its uid."""
    started_at: datetime
    """When its trainer started."""


class Artifacts(Schema):
    """Where the results lie."""

    model: str | None = None
    """The model, re-opened by weights.uri."""
    report: str | None = None
    """report.html."""
    result: str | None = None
    """result.json."""


def _unseen() -> list[Condition]:
    return [
        Condition(type="Accepted", status="Unknown", reason=WAITING_FOR_OPERATOR),
        Condition(type="Reconciling", status="True", reason=WAITING_FOR_OPERATOR),
    ]


class FinetuneRunStatus(Schema):
    """What is. The defaults are those of a run that no operator has seen yet, so that it says so itself."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that the rest speaks of."""
    state: State = "Pending"
    """One word for where the run is; from Kubernetes objects alone."""
    reason: str = WAITING_FOR_OPERATOR
    """One word for why, of reasons.py; empty where there is nothing to say."""
    message: Annotated[str, Field(max_length=4096)] = (
        "No operator has seen this run yet. Is one installed, and does it watch this namespace?"
    )
    """Why, and what would help, as a sentence."""
    conditions: list[Condition] = Field(default_factory=_unseen)
    """For tools: kubectl wait, kstatus, Argo CD."""
    job_name: str | None = None
    """The run's Job."""
    job_uid: str | None = None
    """That Job's uid."""
    jobs: Annotated[int, Field(ge=0)] = 0
    """Jobs made for this run: one, and one more for each restart and for each that vanished."""
    restarts: Annotated[int, Field(ge=0)] = 0
    """The spec.lifecycle.restart that was carried out last."""
    pod: PodRef | None = None
    """The pod of the newest attempt."""
    image: str | None = None
    """The trainer image that the Job was first made with, kept for when it must be made again."""
    attempts: Annotated[int, Field(ge=0)] = 0
    """Pods that trained, or tried."""
    waiting_since: datetime | None = None
    """Start of the present unsuspended time without a running trainer, before the first start."""
    waiting_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Such time before that, over all suspends: what startDeadlineSeconds bounds."""
    active_since: datetime | None = None
    """Start of the present active time."""
    active_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Active time before that, over all suspends."""
    start_time: datetime | None = None
    """When the trainer first ran."""
    completion_time: datetime | None = None
    """When the run ended."""
    progress: RunProgress | None = None
    """Where the trainer is."""
    evaluation: RunEvaluation | None = None
    """The outcome in figures."""
    checkpoint: CheckpointRef | None = None
    """The newest whole checkpoint."""
    artifacts: Artifacts | None = None
    """Where the results lie."""
    gpu_seconds: Annotated[float, Field(ge=0)] = 0.0
    """GPUs x active seconds, over all attempts."""
