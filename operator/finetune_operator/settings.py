"""What the operator's administrator decides; the defaults are those of the chart."""

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What decisions depend on, besides the run."""

    trainer_image: str
    """For runs that name none."""
    requests: dict[str, str] = field(
        default_factory=lambda: {"cpu": "2", "memory": "16Gi", "ephemeral-storage": "20Gi"}
    )
    """For runs that ask for none, by resource."""
    shared_memory: str = "1Gi"
    """The size of /dev/shm; part of the memory limit."""
    progress_every: timedelta = timedelta(seconds=15)
    """The least time between two status writes for progress alone."""
    look_again: timedelta = timedelta(seconds=10)
    """When a run that is held up is looked at again."""
    misses_told: int = 3
    """Polls in a row without an answer before ProgressReporting is False."""
    lost_after: timedelta = timedelta(seconds=30)
    """Past its grace period a pod that is still there stands on a lost node."""
