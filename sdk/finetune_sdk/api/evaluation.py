"""spec.evaluation: the number, and what it must be."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_sdk.api.patterns import METRIC_PATTERN
from finetune_sdk.api.types import UNIQUE, Fraction, IntOrAuto, SpecModel

Rank = Annotated[int, Field(ge=1, le=100_000)]
"""Not WHOLE: a rule in CEL reads these, and knows no integer in 5.0."""


class Gate(SpecModel):
    """What the headline metric must gain; judged last, from stored figures, so that it can be changed afterwards."""

    min_gain: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """The least gain in absolute recall: 0.02 is two points."""
    compare: Literal["estimate", "lowerBound"] = "estimate"
    """Compare the gain itself, or the lower end of its 95 % interval."""
    max_loss: Fraction | None = None
    """The most that the other direction may lose, in absolute recall."""


class Evaluation(SpecModel):
    """Recall before and after, on the same queries."""

    recall_at: Annotated[list[Rank], Field(min_length=1, max_length=16), UNIQUE] | None = None
    """The k of recall@k. Absent: 1, 5 and 10, as far as there are candidates."""
    metric: Annotated[str, Field(max_length=64, pattern=METRIC_PATTERN)] | None = None
    """The headline: image_retrieval_recall@K or text_retrieval_recall@K, with K from recallAt.
    Absent: image_retrieval_recall@5 if 5 is measured, else the largest K."""
    every: IntOrAuto = "auto"
    """Steps between evaluations on validation; auto makes 10 a run."""
    gate: Gate | None = None
    """Fail the run with GateNotMet if it gains less. Absent: no gate."""
