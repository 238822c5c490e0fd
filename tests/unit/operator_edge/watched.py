"""An API server over HTTP with as much in it as kopf's watches need; a namespace in it may refuse."""

import asyncio
import json
from collections import Counter
from typing import Any

from aiohttp import web

from finetune_operator.api import ApiError
from finetune_operator.objects import Json
from tests.unit.operator_edge.fake_api import FakeApi

VERBS = ["get", "list", "watch", "patch"]
RESOURCES = {
    "/api/v1": {"pods": "Pod", "namespaces": "Namespace"},
    "/apis/batch/v1": {"jobs": "Job"},
    "/apis/finetune.dev/v1alpha1": {"finetuneruns": "FinetuneRun"},
    "/apis/apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
}


class Watched(FakeApi):
    """The operator's own client of the server too. Nothing but runs is ever in it."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.runs: dict[str, Json] = {}
        """By namespace."""
        self.lists = Counter[str]()
        """How often kopf listed runs, by namespace."""
        self.refusals = Counter[str]()
        self._streams: dict[str, list[asyncio.Event]] = {}
        self._port = 0

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]
        return runner

    async def connection(self) -> Json:
        return {"server": f"http://127.0.0.1:{self._port}", "default_namespace": "default"}

    async def get(self, path: str, *_: object) -> Json:
        if path.rsplit("/namespaces/", maxsplit=1)[-1].split("/", maxsplit=1)[0] in self.refused:
            raise ApiError(403, f"{path} is forbidden")
        return {"items": [], "metadata": {}}

    def refuse_from_now_on(self, namespace: str) -> None:
        """Its Role is gone: watches end, and none is opened again."""
        self.refused.add(namespace)
        self.end(namespace)

    def end(self, namespace: str) -> None:
        for ended in self._streams.pop(namespace, []):
            ended.set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/api":
            return web.json_response({"versions": ["v1"]})
        if request.path == "/apis":
            return web.json_response({"groups": [_group(path) for path in RESOURCES if path.startswith("/apis/")]})
        if request.path in RESOURCES:
            return web.json_response({"resources": _resources(request.path)})
        _, _, rest = request.path.partition("/namespaces/")
        namespace, plural = rest.split("/")
        if namespace in self.refused:
            self.refusals[namespace] += 1
            return web.json_response({"kind": "Status", "code": 403, "message": "forbidden"}, status=403)
        if "watch" in request.query:
            return await self._stream(request, namespace)
        return web.json_response({"items": self._listed(namespace, plural), "metadata": {"resourceVersion": "1"}})

    def _listed(self, namespace: str, plural: str) -> list[Json]:
        if plural != "finetuneruns":
            return []
        self.lists[namespace] += 1
        return [self.runs[namespace]] if namespace in self.runs else []

    async def _stream(self, request: web.Request, namespace: str) -> web.StreamResponse:
        response, ended = web.StreamResponse(), asyncio.Event()
        self._streams.setdefault(namespace, []).append(ended)
        await response.prepare(request)
        bookmark: dict[str, Any] = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "1"}}}
        await response.write(json.dumps(bookmark).encode() + b"\n")
        await ended.wait()
        return response


def _group(path: str) -> Json:
    _, _, name, version = path.split("/")
    return {"name": name, "versions": [{"version": version}], "preferredVersion": {"version": version}}


def _resources(path: str) -> list[Json]:
    return [
        {"name": name, "kind": kind, "singularName": "", "namespaced": path != "/apis/apiextensions.k8s.io/v1"}
        | {"verbs": VERBS}
        for name, kind in RESOURCES[path].items()
    ]
