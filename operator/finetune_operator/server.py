"""/healthz, /readyz and /metrics."""

from collections.abc import Callable

from aiohttp import web

from finetune_operator.metrics import CONTENT_TYPE, Metrics


def application(metrics: Metrics, healthy: Callable[[], str], ready: Callable[[], str]) -> web.Application:
    """`healthy` and `ready` return why not, or nothing."""

    async def answer(why_not: str) -> web.Response:
        return web.Response(status=503 if why_not else 200, text=(why_not or "ok") + "\n")

    async def healthz(_: web.Request) -> web.Response:
        return await answer(healthy())

    async def readyz(_: web.Request) -> web.Response:
        return await answer(ready())

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)])
    return app


async def serve(app: web.Application, port: int) -> web.AppRunner:
    """Listen on every address; the caller cleans the runner up."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
