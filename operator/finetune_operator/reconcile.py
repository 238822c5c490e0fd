"""A pass over one run: read, decide, write. This module alone knows the order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from finetune_operator.actions import Plan
from finetune_operator.api import Api, ApiError
from finetune_operator.apply import CONFLICT, NOT_FOUND, Applier
from finetune_operator.caches import Caches
from finetune_operator.model import Observed, RunKey
from finetune_operator.observe import observe, refresh
from finetune_operator.plan import plan
from finetune_operator.policies.telling import UNDER_WAY
from finetune_operator.settings import PlanSettings

HEARD = (*UNDER_WAY, "Suspending")
"""States in which pods start, work or end: they make themselves heard, mostly long before they are looked at again."""


@dataclass(frozen=True)
class Reconciler:
    """What passes share."""

    api: Api
    caches: Caches
    applier: Applier
    settings: PlanSettings
    now: Callable[[], datetime]

    async def reconcile(self, key: RunKey) -> datetime | None:
        """One pass; when to come again though nothing changes.

        Raises:
            ApiError: the pass must be made again.
            NotLeading: no pass may be made any more.
        """
        observed = await observe(self.api, self.caches, key, fresh=False)
        decided = plan(observed, self.now(), self.settings) if observed is not None else Plan()
        if decided.needs_fresh:
            observed = await observe(self.api, self.caches, key, fresh=True)
            decided = plan(observed, self.now(), self.settings) if observed is not None else Plan()
        if observed is None:  # deleted since the nudge
            self.applier.forget(key)
            return None
        return await self._carry_out(observed, decided)

    async def _carry_out(self, observed: Observed, decided: Plan) -> datetime | None:
        key = observed.run.key
        try:
            whole = await self.applier.apply(observed, decided)
        except ApiError as error:
            if error.status in (CONFLICT, NOT_FOUND):  # what was decided on has changed, or is gone
                await refresh(self.api, self.caches, key)
            raise
        return again_at(observed, decided, self.now(), self.settings.look_again) if whole else self.now()


def again_at(observed: Observed, decided: Plan, now: datetime, look_again: timedelta) -> datetime | None:
    """When a run is looked at after a pass at `now`, though no watch tells of it; None: when one does.

    A watch's echo of our own write nudges nobody: what follows a turn is seen by a pass that is asked for.
    """
    status = decided.status
    if status is None or status.state == observed.run.status.state:
        return decided.wake_at
    if status.state not in HEARD:
        return now
    look = now + look_again
    return min(look, decided.wake_at or look)
