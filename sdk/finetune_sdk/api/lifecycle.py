"""spec.lifecycle: retries and deadlines. With suspend, all of the spec that may change while a run exists."""

from typing import Annotated

from pydantic import Field

from finetune_sdk.api.types import MAX_INT32, WHOLE, Seconds, SpecModel


class Lifecycle(SpecModel):
    """How long, and how often again."""

    max_retries: Annotated[int, Field(ge=0, le=100), WHOLE] = 3
    """How often a failed pod is replaced."""
    start_deadline_seconds: Seconds | None = None
    """Unsuspended time in which training must begin. Absent: none."""
    active_deadline_seconds: Seconds | None = None
    """Active time over all attempts. Absent: none."""
    progress_deadline_seconds: Seconds = 1800
    """Time without any progress after which the trainer counts as hung."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=MAX_INT32), WHOLE] | None = None
    """When a finished run's Job is deleted. Absent: never."""
    restart: Annotated[int, Field(ge=0, le=MAX_INT32)] = 0  # not WHOLE: a rule in CEL reads it
    """May only grow: raising it on a failed run starts it again on its output, with fresh retries."""
