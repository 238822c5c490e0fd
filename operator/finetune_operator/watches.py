"""kopf's watches, in a thread and an event loop of their own.

kopf takes the process's signals, and when it ends, cancels every task of its loop that is younger than itself: so it
gets a loop in which only it lives. What it tells is handled in the operator's loop. When it fails, it begins again.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import kopf
from kopf._cogs.structs.references import Insights, NamespaceName
from kopf._core.engines.peering import Identity

from finetune_operator.api import Api, ApiError
from finetune_operator.cluster import OURS
from finetune_operator.handlers import Handlers
from finetune_operator.log import log
from finetune_operator.namespaces import Namespaces
from finetune_operator.objects import Json
from finetune_sdk.api.run import GROUP, PLURAL, VERSION

AGAIN_SECONDS = 2.0
LOOK_SECONDS = 30.0
"""Between looks at which namespaces answer. One refused twice is left out before kopf, after 68 s, ends all watches."""
Hears = Callable[[Json, str | None], None]


class Watches:
    """Of runs, and of Jobs and pods of ours, in those of `namespaces` that answer."""

    def __init__(self, api: Api, handlers: Handlers, namespaces: Namespaces, identity: str) -> None:
        self._api = api
        self._handlers = handlers
        self._namespaces = namespaces
        self._identity = identity
        self._stopping = False
        self._stop_kopf: Callable[[], object] = lambda: None
        self._turn_kopf: Callable[[frozenset[str]], object] = lambda _: None
        self.opened = threading.Event()

    async def run(self) -> None:
        """Until `stop`, or until it is cancelled: the thread then ends with the process."""
        while not self._stopping:
            try:
                names = await self._namespaces.answering()
                if self._namespaces.names and not names:
                    await asyncio.sleep(LOOK_SECONDS)
                else:
                    await self._watch(names)
            except Exception as error:  # noqa: BLE001 - whatever ends kopf, runs must be looked after
                log.warning("watches-ended", error=str(error) or type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _watch(self, names: frozenset[str]) -> None:
        """Until kopf ends; a namespace that no longer answers is left out before it ends all, and comes back."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        threading.Thread(target=self._live, args=(loop, ended, names), name="watches", daemon=True).start()
        while not (await asyncio.wait({ended}, timeout=LOOK_SECONDS))[0]:
            try:
                answering = await self._namespaces.answering()
            except ApiError:  # nothing is known of them now
                continue
            if answering != names:
                names = answering
                self._turn_kopf(names)
        ended.result()

    def stop(self) -> None:
        """Close them."""
        self._stopping = True
        self._stop_kopf()

    def _live(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None], names: frozenset[str]) -> None:
        def end(error: BaseException | None) -> None:
            if ended.done():
                return
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(RuntimeError(str(error) or type(error).__name__))

        failure: BaseException | None = None
        try:
            asyncio.run(self._operate(loop, names))
        except BaseException as error:  # noqa: BLE001 - told to the operator's loop
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(end, failure)

    async def _operate(self, loop: asyncio.AbstractEventLoop, names: frozenset[str]) -> None:
        stop, its_loop = asyncio.Event(), asyncio.get_running_loop()  # kopf would wait for a thread's flag for ever
        self._stop_kopf = lambda: its_loop.is_closed() or its_loop.call_soon_threadsafe(stop.set)
        insights = Insights()
        self._turn_kopf = lambda others: (
            its_loop.is_closed() or asyncio.run_coroutine_threadsafe(_turn(insights, others), its_loop)
        )
        await kopf.operator(
            registry=self._registry(loop),
            settings=settings(),
            standalone=True,
            insights=insights,
            identity=Identity(self._identity),  # else kopf asks for a user name, which a pod need not have
            clusterwide=not names,
            namespaces=names,
            stop_flag=stop,
            ready_flag=self.opened,
        )

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        chosen = kopf.OperatorRegistry()

        @kopf.on.login(registry=chosen)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            asked = asyncio.run_coroutine_threadsafe(self._api.connection(), loop)
            return kopf.ConnectionInfo(**await asyncio.wrap_future(asked))

        def pass_on(hears: Hears) -> Any:
            async def heard(event: Any, **_: Any) -> None:
                loop.call_soon_threadsafe(hears, event["object"], event["type"])

            return heard

        kopf.on.event(GROUP, VERSION, PLURAL, registry=chosen, id="runs")(pass_on(self._handlers.run_changed))
        kopf.on.event("batch", "v1", "jobs", registry=chosen, id="jobs")(pass_on(self._handlers.job_changed))
        kopf.on.event("v1", "pods", registry=chosen, id="pods")(pass_on(self._handlers.pod_changed))
        return chosen


async def _turn(insights: Insights, names: frozenset[str]) -> None:
    """Let kopf open the watches of namespaces that are new to it, and close those of others, as it does in a scan."""
    async with insights.revised:
        insights.namespaces.clear()
        insights.namespaces.update(map(NamespaceName, names))
        insights.revised.notify_all()


class NothingKept(kopf.DiffBaseStorage):
    """kopf compares no versions of an object for us: by default it copies each whole object at each event."""

    def build(self, **_: Any) -> Any:
        """Nothing."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Nothing."""

    def store(self, **_: Any) -> None:
        """Nothing."""


class NoProgressKept(kopf.ProgressStorage):
    """A handler of events makes no progress that kopf would keep in an object: by default it looks for it at each."""

    def fetch(self, **_: Any) -> None:
        """Nothing."""

    def store(self, **_: Any) -> None:
        """Nothing."""

    def purge(self, **_: Any) -> None:
        """Nothing."""

    def touch(self, **_: Any) -> None:
        """Nothing."""

    def clear(self, *, essence: Any) -> Any:
        """What is compared, as it is."""
        return essence


def settings() -> kopf.OperatorSettings:
    """kopf as a watcher alone: no scanning, no peering, no Events, finalizers or annotations of its own."""
    chosen = kopf.OperatorSettings()
    chosen.process.ultimate_exiting_timeout = None
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.persistence.diffbase_storage = NothingKept()
    chosen.persistence.progress_storage = NoProgressKept()
    chosen.watching.label_selectors["batch", "v1", "jobs"] = OURS["labelSelector"]
    chosen.watching.label_selectors["v1", "pods"] = OURS["labelSelector"]
    chosen.watching.server_timeout = 300
    chosen.watching.chunk_size = 500
    chosen.networking.error_backoffs = (0.5, 1, 2, 5, 10, 10, 10, 10, 10, 10)
    chosen.queueing.idle_timeout = 0.5
    chosen.queueing.exit_timeout = 2.0
    return chosen
