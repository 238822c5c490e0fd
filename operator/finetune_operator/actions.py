"""What a decision says: writes to make, the new status, what to tell, and when to look again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from kubernetes.client import V1Job

from finetune_sdk.api.status import FinetuneRunStatus


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Make the Job; where it exists already, the owner's uid tells whether it is this run's."""

    name: str
    job: V1Job

    def __str__(self) -> str:
        return f"create Job/{self.name}"


@dataclass(frozen=True, slots=True)
class PatchJob:
    """Change the Job of that uid by a merge patch of its spec and annotations."""

    name: str
    uid: str
    spec: dict[str, Any]
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    """None takes one away."""

    def __str__(self) -> str:
        return f"patch Job/{self.name} {self.spec}"


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete the Job of that uid, and its pods after it."""

    name: str
    uid: str

    def __str__(self) -> str:
        return f"delete Job/{self.name}"


Action = CreateJob | PatchJob | DeleteJob


@dataclass(frozen=True, slots=True)
class Tell:
    """An Event on the run."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one run."""

    actions: tuple[Action, ...] = ()
    status: FinetuneRunStatus | None = None
    """The new status; None: as it is."""
    tells: tuple[Tell, ...] = ()
    wake_at: datetime | None = None
    """When to decide again though nothing has changed."""
    needs_fresh: bool = False
    """It was made from what watches told and starts, ends or deletes something: read again, decide again."""
