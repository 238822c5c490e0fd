"""What `wait` waits for."""

from dataclasses import dataclass
from typing import get_args

from finetune_sdk.api.reasons import State
from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.api.status import ConditionType
from finetune_sdk.client.errors import Refused, RunFailed
from finetune_sdk.errors import UsageError

FINISHED = "finished"
FINAL_STATES: frozenset[State] = frozenset({"Succeeded", "Failed"})
STATES: tuple[State, ...] = get_args(State)
CONDITIONS: tuple[ConditionType, ...] = get_args(ConditionType)


def is_current(run: FinetuneRun) -> bool:
    """Whether the status speaks of the spec as it is: after a retry the old failure stands there for a moment."""
    return run.status.observed_generation >= (run.metadata.generation or 0)


def is_finished(run: FinetuneRun) -> bool:
    """Whether the run is over, as far as its spec is acted on."""
    return is_current(run) and run.status.state in FINAL_STATES


@dataclass(frozen=True)
class Goal:
    """One of: the end, a state, a condition with a status."""

    text: str
    state: State | None = None
    condition: ConditionType | None = None
    status: str = "True"

    @classmethod
    def parse(cls, text: str) -> "Goal":
        """`finished`, a state such as `Running`, `condition=Accepted` or `condition=GatePassed=False`.

        Raises:
            UsageError: naming what there is.
        """
        if text.lower() == FINISHED:
            return cls(text)
        states = {state.lower(): state for state in STATES}
        if (state := states.get(text.lower().removeprefix("state="))) is not None:
            return cls(text, state=state)
        word, _, rest = text.partition("=")
        name, _, status = rest.partition("=")
        conditions = {kind.lower(): kind for kind in CONDITIONS}
        statuses = {"": "True", "true": "True", "false": "False", "unknown": "Unknown"}
        if word.lower() == "condition" and name.lower() in conditions and status.lower() in statuses:
            return cls(text, condition=conditions[name.lower()], status=statuses[status.lower()])
        raise UsageError(
            f"{text!r} is nothing to wait for: write {FINISHED}, a state ({', '.join(STATES)}), or "
            f"condition=TYPE or condition=TYPE=False with TYPE one of {', '.join(CONDITIONS)}"
        )

    def reached(self, run: FinetuneRun) -> bool:
        """Whether it holds. Raises RunFailed or Refused where it cannot hold any more."""
        if not is_current(run):
            return False
        status = run.status
        if self.state is not None and status.state == self.state:
            return True
        if self.condition is not None and self._holds(run):
            return True
        if not is_finished(run):
            return False
        if status.state == "Failed":
            raise RunFailed(run)
        if self.state is None and self.condition is None:
            return True
        raise Refused(f"run {run.metadata.name!r} is {status.state}: it will not come to {self.text} any more")

    def _holds(self, run: FinetuneRun) -> bool:
        return any(one.type == self.condition and one.status == self.status for one in run.status.conditions)
