"""A proxy between the operator and the API server that fails where a test says so."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.on_cluster.faults.api import ControlPlane

_DROPPED = ("host", "content-length", "transfer-encoding", "connection", "content-encoding", "accept-encoding")
GOES_ON = None


@dataclass(frozen=True)
class Request:
    """What the operator asked for."""

    method: str
    path: str
    query: str
    number: int
    """Counts the operator's writes, from 1; 0 for a read. Leases are not counted."""

    @property
    def writes(self) -> bool:
        """Whether it changes something other than a Lease."""
        return self.number > 0

    @property
    def watches(self) -> bool:
        """Whether it is a watch."""
        return "watch=true" in self.query


@dataclass(frozen=True)
class Answer:
    """Instead of the API server's."""

    status: int
    text: str = "injected"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> str:
        """Kubernetes' Status."""
        return f'{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"{self.text}","code":{self.status}}}'


Rule = Callable[[Request], Answer | None]


@dataclass
class Proxy:
    """`before` may answer in the server's place; `after` is called once the server has done it, before the answer."""

    endpoint: str
    before: Rule = lambda _: GOES_ON
    after: Callable[[Request], object] = lambda _: None
    writes: list[Request] = field(default_factory=list)
    watches: set[asyncio.Task[object]] = field(default_factory=set)
    loop: asyncio.AbstractEventLoop | None = None

    def cut_watches(self) -> None:
        """Break every watch that is open."""
        assert self.loop is not None
        for task in list(self.watches):
            self.loop.call_soon_threadsafe(task.cancel)

    def seen(self, request: web.Request) -> Request:
        """The request, counted."""
        writes = request.method not in ("GET", "HEAD") and "/leases" not in request.path
        asked = Request(request.method, request.path, request.query_string, len(self.writes) + 1 if writes else 0)
        if writes:
            self.writes.append(asked)
        return asked


@contextmanager
def a_proxy(control_plane: ControlPlane) -> Iterator[Proxy]:
    """One that passes everything on until it is told otherwise."""
    proxy = Proxy("")
    started, stop = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(proxy, control_plane, started, stop)), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield proxy
    finally:
        assert proxy.loop is not None
        proxy.loop.call_soon_threadsafe(stop.set)
        thread.join(10)


async def _serve(proxy: Proxy, plane: ControlPlane, started: threading.Event, stop: asyncio.Event) -> None:
    proxy.loop = asyncio.get_running_loop()
    import ssl

    context = ssl.create_default_context(cafile=plane.authority)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        app = web.Application(client_max_size=1 << 24)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await _handle(proxy, plane, session, request)

        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        proxy.endpoint = f"http://{host}:{port}"
        started.set()
        await stop.wait()
        await runner.cleanup()


async def _handle(
    proxy: Proxy, plane: ControlPlane, session: aiohttp.ClientSession, request: web.Request
) -> web.StreamResponse:
    asked, body = proxy.seen(request), await request.read()
    if (instead := proxy.before(asked)) is not None:
        return web.Response(
            status=instead.status,
            text=instead.body,
            content_type="application/json",
            headers=dict(instead.headers),
        )
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED}
    task = asyncio.current_task()
    if asked.watches and task is not None:
        proxy.watches.add(task)
    try:
        async with session.request(
            request.method, plane.server + request.path_qs, data=body or None, headers=headers
        ) as theirs:
            return await _passed_on(proxy, asked, request, theirs)
    except aiohttp.ClientError:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)
    finally:
        if task is not None:
            proxy.watches.discard(task)


async def _passed_on(
    proxy: Proxy, asked: Request, request: web.Request, theirs: aiohttp.ClientResponse
) -> web.StreamResponse:
    kept = {name: value for name, value in theirs.headers.items() if name.lower() not in _DROPPED}
    if not asked.watches:
        content = await theirs.read()
        proxy.after(asked)
        return web.Response(status=theirs.status, body=content, headers=kept)
    response = web.StreamResponse(status=theirs.status, headers=kept)
    await response.prepare(request)
    async for chunk in theirs.content.iter_any():
        await response.write(chunk)
    return response
