"""An API server that is a dictionary: resource versions count up, and a write over another version is refused."""

import itertools
from collections.abc import Callable
from typing import Any, cast

from finetune_operator.api import Api, ApiError
from finetune_operator.objects import Json


def _allowed(method: str, path: str) -> None:
    """Nothing is refused."""


class FakeApi:
    """`refuse` may raise an ApiError in the server's place."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.calls: list[tuple[str, str]] = []
        self.refuse: Callable[[str, str], None] = _allowed
        self._versions = itertools.count(1)

    @property
    def api(self) -> Api:
        return cast("Api", self)

    @staticmethod
    def serialize(typed: Any) -> Json:
        return cast("Json", typed)

    async def get(self, path: str, *_: object) -> Json:
        self._called("GET", path)
        if path not in self.objects:
            raise ApiError(404, f"{path} not found")
        return self.objects[path]

    async def post(self, path: str, body: Json) -> Json:
        self._called("POST", path)
        place = f"{path}/{body['metadata']['name']}"
        if place in self.objects:
            raise ApiError(409, f"{place} already exists")
        return self._stored(place, body)

    async def put(self, path: str, body: Json) -> Json:
        self._called("PUT", path)
        self._compare(path, body)
        return self._stored(path, body)

    async def patch(self, path: str, body: Json) -> Json:
        self._called("PATCH", path)
        self._compare(path.removesuffix("/status"), body)
        return self._stored(path.removesuffix("/status"), _merged(self.objects[path.removesuffix("/status")], body))

    async def delete(self, path: str, body: Json) -> Json:
        self._called("DELETE", path)
        found = self.objects.get(path)
        if found is None:
            raise ApiError(404, f"{path} not found")
        if found["metadata"]["uid"] != body["preconditions"]["uid"]:
            raise ApiError(409, "the UID in the precondition does not match")
        return self.objects.pop(path)

    def writes(self) -> list[tuple[str, str]]:
        """In order."""
        return [call for call in self.calls if call[0] != "GET"]

    def _called(self, method: str, path: str) -> None:
        self.calls.append((method, path))
        self.refuse(method, path)

    def _compare(self, path: str, body: Json) -> None:
        if path not in self.objects:
            raise ApiError(404, f"{path} not found")
        wanted = body["metadata"].get("resourceVersion")
        if wanted is not None and wanted != self.objects[path]["metadata"]["resourceVersion"]:
            raise ApiError(409, "the object has been modified")

    def _stored(self, place: str, body: Json) -> Json:
        number = str(next(self._versions))
        uid = body["metadata"].get("uid", f"uid-{number}")
        self.objects[place] = {**body, "metadata": {**body["metadata"], "uid": uid, "resourceVersion": number}}
        return self.objects[place]


def _merged(old: Json, patch: Json) -> Json:
    merged = dict(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(old.get(key) or {}, value) if isinstance(value, dict) else value
    return merged
