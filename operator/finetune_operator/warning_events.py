"""Why pods are not made or do not mount: Warnings that Kubernetes tells only as Events.

Events are listed and not watched: a cluster has very many, and no label says which are about Jobs and pods of ours. One
list of a reason serves all runs that are held up; nothing is asked while none is.
"""

import asyncio
from collections.abc import Callable
from typing import NoReturn

from finetune_operator.api import Api, ApiError
from finetune_operator.caches import Caches
from finetune_operator.cluster import CORE, read_all
from finetune_operator.log import log
from finetune_operator.model import EventView, RunKey
from finetune_operator.namespaces import REFUSED, Namespaces

EVERY_SECONDS = 5.0
REASONS = ("FailedCreate", "FailedMount", "FailedAttachVolume")


class WarningEvents:
    """Keeps `caches.warnings` up to date for runs that are held up in two rounds in a row, and nudges them."""

    def __init__(self, api: Api, caches: Caches, namespaces: Namespaces, nudge: Callable[[RunKey], None]) -> None:
        self._api = api
        self._caches = caches
        self._namespaces = namespaces
        self._nudge = nudge
        self._held: set[RunKey] = set()

    async def run(self) -> NoReturn:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.round()
            except ApiError as error:
                log.warning("events-not-read", error=str(error))

    async def round(self) -> None:
        """One look; a run that has only just become held up is given time to start."""
        held = self._caches.held_up()
        still, self._held = self._held & held.keys(), set(held)
        if not still:
            self._caches.warnings.clear()
            return
        wanted = {uid: key for key in still for uid in held[key]}
        found: dict[str, list[EventView]] = {}
        for namespace in sorted({key.namespace for key in still} - self._namespaces.refused):
            for event in await self._listed(namespace):
                if event.uid in wanted:
                    found.setdefault(event.uid, []).append(event)
        self._keep({uid: tuple(sorted(events, key=lambda one: one.at)) for uid, events in found.items()}, wanted)

    async def _listed(self, namespace: str) -> list[EventView]:
        listed: list[EventView] = []
        try:
            for reason in REASONS:
                query = {"fieldSelector": f"type=Warning,reason={reason}"}
                items = read_all(self._api, CORE, "events", namespace, query)
                listed += [EventView.from_object(item) async for item in items]
        except ApiError as error:
            if error.status not in REFUSED:
                raise
            log.warning("events-not-read", namespace=namespace, error=str(error))
        return listed

    def _keep(self, found: dict[str, tuple[EventView, ...]], wanted: dict[str, RunKey]) -> None:
        before = dict(self._caches.warnings)
        self._caches.warnings.clear()
        self._caches.warnings.update(found)
        for uid, events in found.items():
            if before.get(uid) != events:
                self._nudge(wanted[uid])
