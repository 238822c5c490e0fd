"""One leader at a time, by a Lease: ten seconds long, renewed within seven, tried every two.

Source: client-go's leaderelection, whose clock rule this keeps: a lease is expired when this process has not seen it
change for its duration, whatever clock its holder has.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

from finetune_operator.api import Api, ApiError
from finetune_operator.log import log
from finetune_operator.objects import Json

DURATION_SECONDS = 10.0
RENEW_WITHIN_SECONDS = 7.0
RETRY_SECONDS = 2.0
NAME = "finetune-operator"
CONFLICT, NOT_FOUND = 409, 404


class Lease:
    """The Lease object as one process meets it. `clock` is monotonic; `now` is UTC, for people who read the object."""

    def __init__(
        self, api: Api, *, namespace: str, identity: str, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._api = api
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._namespace = namespace
        self.identity = identity
        self._clock = clock
        self._now = now
        self._seen: tuple[str, float] = ("", 0.0)
        self._expires = 0.0
        self._renewed: float | None = None
        """When the last renewal that succeeded was begun."""
        self._writing: asyncio.Task[None] | None = None
        """The last write that names this process: it may land though nobody waits for the answer any more."""

    def held(self) -> bool:
        """Whether this process may write: its last renewal is younger than the lease is long."""
        return self._renewed is not None and self._clock() - self._renewed < DURATION_SECONDS

    async def acquire(self) -> None:
        """Until this process leads."""
        while not await self._try():
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Seconds until the next try: as soon as another's lease is over, should it not be renewed."""
        left = self._expires - self._clock()
        return min(RETRY_SECONDS, left) if left > 0 else RETRY_SECONDS

    async def keep(self) -> None:
        """Renew until that fails for too long; the caller ends the process then."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if not await self._try() and not self._fresh():
                return

    def _fresh(self) -> bool:
        return self._renewed is not None and self._clock() - self._renewed < RENEW_WITHIN_SECONDS

    async def release(self) -> None:
        """Let the next process lead at once."""
        if self._writing is None:
            return
        self._renewed = None
        try:
            async with asyncio.timeout(RETRY_SECONDS * 2):
                with contextlib.suppress(ApiError):
                    await self._writing
                current = await self._api.get(f"{self._folder}/{NAME}")
                if current["spec"].get("holderIdentity") == self.identity:
                    await self._write(current, holder="")
        except (ApiError, TimeoutError) as error:
            log.warning("lease-not-released", error=str(error) or type(error).__name__)

    async def _try(self) -> bool:
        """Take or renew the lease, if nobody else holds it."""
        began = self._clock()
        try:
            async with asyncio.timeout(RETRY_SECONDS * 2):
                taken = await self._take()
        except (ApiError, TimeoutError) as error:
            log.warning("lease-not-reached", error=str(error) or type(error).__name__)
            return False
        if taken:
            self._renewed = began
        return taken

    async def _take(self) -> bool:
        try:
            current = await self._api.get(f"{self._folder}/{NAME}")
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            return await self._written(None)
        holder = current["spec"].get("holderIdentity") or ""
        if holder not in ("", self.identity) and not self._expired(current):
            return False
        return await self._written(current)

    def _expired(self, current: Json) -> bool:
        version, now = current["metadata"]["resourceVersion"], self._clock()
        if version != self._seen[0]:
            self._seen = (version, now)
        self._expires = self._seen[1] + float(current["spec"].get("leaseDurationSeconds", DURATION_SECONDS))
        return now >= self._expires

    async def _written(self, current: Json | None) -> bool:
        self._writing = asyncio.create_task(self._write(current, self.identity))
        try:
            await asyncio.shield(self._writing)
        except ApiError as error:
            if error.status == CONFLICT:
                return False
            raise
        return True

    async def _write(self, current: Json | None, holder: str) -> None:
        at = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict((current or {}).get("spec") or {})
        if spec.get("holderIdentity") != holder:
            spec["acquireTime"] = at
            spec["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
        spec |= {"holderIdentity": holder, "renewTime": at, "leaseDurationSeconds": int(DURATION_SECONDS)}
        body: Json = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
        if current is None:
            await self._api.post(self._folder, {**body, "metadata": {"name": NAME, "namespace": self._namespace}})
        else:
            await self._api.put(f"{self._folder}/{NAME}", {**body, "metadata": current["metadata"]})
