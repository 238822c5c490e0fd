"""A pass over one run: read, decide, write. This module alone knows the order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from finetune_operator.api import Api, ApiError
from finetune_operator.apply import CONFLICT, NOT_FOUND, Applier
from finetune_operator.caches import Caches
from finetune_operator.model import Observed, RunKey
from finetune_operator.observe import observe, refresh
from finetune_operator.plan import plan
from finetune_operator.settings import PlanSettings


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
        if observed is None:  # deleted since the nudge
            self.applier.forget(key)
            return None
        return await self._carry_out(observed)

    async def _carry_out(self, observed: Observed) -> datetime | None:
        key = observed.run.key
        decided = plan(observed, self.now(), self.settings)
        if decided.needs_fresh:
            again = await observe(self.api, self.caches, key, fresh=True)
            if again is None:
                return None
            observed, decided = again, plan(again, self.now(), self.settings)
        try:
            whole = await self.applier.apply(observed, decided)
        except ApiError as error:
            if error.status in (CONFLICT, NOT_FOUND):  # what was decided on has changed, or is gone
                await refresh(self.api, self.caches, key)
            raise
        turned = decided.status is not None and decided.status.state != observed.run.status.state
        return self.now() if turned or not whole else decided.wake_at  # a watch's echo of our own write nudges nobody
