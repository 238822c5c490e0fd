"""The API server as a Cluster: JSON over the package kubernetes; every refusal becomes a ClientError here."""

import base64
import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from finetune_sdk.api.run import GROUP, PLURAL, VERSION
from finetune_sdk.client.answers import LOGS, RUNS, Asked, refusal
from finetune_sdk.client.cluster import EVENT_TYPES, EventType, Json, Listing, Scope, WatchExpired
from finetune_sdk.client.connect import Connection
from finetune_sdk.client.errors import AlreadyExists, Unreachable
from finetune_sdk.contract import CONTAINER
from finetune_sdk.storage import CredentialsSource, Store, open_store

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""For an answer; also for silence in a log, after which its reader asks again."""
PAGE = 500
"""Objects of one answer to a list."""
GONE, REFUSED = 410, 400
_MERGE = "application/merge-patch+json"


class KubeCluster:
    """One API server as one user."""

    def __init__(self, connection: Connection) -> None:
        self._client = connection.client
        self.namespace = connection.namespace

    def list_runs(self, scope: Scope) -> Listing:
        return self._list(Asked("list", RUNS, scope.namespace), _runs(scope.namespace), _query(scope))

    def watch_runs(self, scope: Scope, version: str, seconds: float) -> Iterator[tuple[EventType, Json]]:
        query = {
            **_query(scope),
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, math.ceil(seconds))),
        }
        asked = Asked("watch", RUNS, scope.namespace)
        for line in self._stream(asked, _runs(scope.namespace), query, seconds + CONNECT_SECONDS):
            event = json.loads(line)
            if event["type"] == "ERROR":
                if event["object"].get("code") == GONE:
                    raise WatchExpired
                return
            if event["type"] in EVENT_TYPES:
                yield event["type"], event["object"]

    def get_run(self, namespace: str, name: str) -> Json:
        return self._json(Asked("get", RUNS, namespace, name), "GET", _runs(namespace, name))

    def create_run(self, namespace: str, document: Json) -> Json:
        asked = Asked("create", RUNS, namespace, document["metadata"]["name"])
        return self._json(asked, "POST", _runs(namespace), {"fieldValidation": "Strict"}, document)

    def patch_run(self, namespace: str, name: str, patch: Json) -> Json:
        asked = Asked("patch", RUNS, namespace, name)
        return self._json(asked, "PATCH", _runs(namespace, name), {"fieldValidation": "Strict"}, patch)

    def delete_run(self, namespace: str, name: str, uid: str) -> None:
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        self._json(Asked("delete", RUNS, namespace, name), "DELETE", _runs(namespace, name), None, options)

    def list_jobs(self, namespace: str, labels: str) -> list[Json]:
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        return self._list(Asked("list", "jobs.batch", namespace), path, {"labelSelector": labels}).items

    def list_pods(self, namespace: str, labels: str) -> list[Json]:
        return self._list(Asked("list", "pods", namespace), _core(namespace, "pods"), {"labelSelector": labels}).items

    def read_log(self, namespace: str, pod: str, *, follow: bool, since: str | None, tail: int | None) -> Iterator[str]:
        query = {"container": CONTAINER, "timestamps": "true"}
        query |= {"follow": "true"} if follow else {}
        query |= {"sinceTime": since} if since else {}
        query |= {"tailLines": str(tail)} if tail is not None else {}
        asked = Asked("get", LOGS, namespace, pod)
        yield from self._stream(asked, f"{_core(namespace, 'pods', pod)}/log", query, ANSWER_SECONDS)

    def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        found = self._json(Asked("get", "secrets", namespace, name), "GET", _core(namespace, "secrets", name))
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    def write_secret(self, namespace: str, name: str, data: Mapping[str, bytes], *, replace: bool) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "data": encoded}
        try:
            self._json(Asked("create", "secrets", namespace, name), "POST", _core(namespace, "secrets"), None, document)
        except AlreadyExists:
            if not replace:
                raise
            # As a whole, so that a key which is not given now, such as ca.crt, does not stay from before.
            self._json(
                Asked("update", "secrets", namespace, name), "PUT", _core(namespace, "secrets", name), None, document
            )

    def open_store(self, uri: str, credentials: CredentialsSource | None) -> Store:
        return open_store(uri, credentials)

    def close(self) -> None:
        self._client.close()

    def _list(self, asked: Asked, path: str, query: Mapping[str, str]) -> Listing:
        items: list[Json] = []
        token = ""
        while True:
            try:
                page = self._json(asked, "GET", path, {**query, "limit": str(PAGE), "continue": token})
            except WatchExpired:  # the list changed too much since its first page: from the beginning
                items, token = [], ""
                continue
            items += page["items"]
            if not (token := page["metadata"].get("continue") or ""):
                return Listing(items, page["metadata"]["resourceVersion"])

    def _json(
        self, asked: Asked, method: str, path: str, query: Mapping[str, str] | None = None, body: Json | None = None
    ) -> Json:
        with self._answer(asked, method, path, query or {}, body, ANSWER_SECONDS) as response:
            document: Json = json.loads(response.data)
        return document

    def _stream(self, asked: Asked, path: str, query: Mapping[str, str], silence: float) -> Iterator[str]:
        """Lines until the connection ends, in whatever way: who needs more asks again."""
        import urllib3

        with self._answer(asked, "GET", path, query, None, silence) as response:
            try:
                yield from _lines(response)
            except (urllib3.exceptions.HTTPError, OSError):
                return

    @contextlib.contextmanager
    def _answer(
        self, asked: Asked, method: str, path: str, query: Mapping[str, str], body: Json | None, seconds: float
    ) -> "Iterator[BaseHTTPResponse]":
        response = self._send(method, path, query, body, seconds)
        try:
            if response.status == GONE:
                raise WatchExpired
            if response.status >= REFUSED:
                raise refusal(asked, response.status, response.data.decode(errors="replace"))
            yield response
        finally:
            response.close()
            response.release_conn()

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, seconds: float
    ) -> "BaseHTTPResponse":
        import urllib3
        from kubernetes.client.exceptions import ApiException

        headers = {"Accept": "application/json", "Content-Type": _MERGE if method == "PATCH" else "application/json"}
        pairs = [(key, value) for key, value in query.items() if value]
        try:
            request = self._client.param_serialize(
                method, path, query_params=pairs, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            try:
                answer = self._client.call_api(*request, _request_timeout=(CONNECT_SECONDS, seconds))
            except urllib3.exceptions.ProtocolError:  # mostly a kept connection that the server has closed meanwhile
                if method != "GET":
                    raise
                answer = self._client.call_api(*request, _request_timeout=(CONNECT_SECONDS, seconds))
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise Unreachable(
                f"the API server at {self._client.configuration.host} does not answer ({_cause(error)}): "
                "look at your network and `kubectl cluster-info`"
            ) from None
        response: BaseHTTPResponse = answer.response
        return response


def _lines(response: "BaseHTTPResponse") -> Iterator[str]:
    """Lines as they come, the last one also without its end."""
    rest = b""
    for chunk in response.stream(amt=None):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole if line)
    if rest:
        yield rest.decode(errors="replace")


def _cause(error: Exception) -> str:
    inner: Any = getattr(error, "reason", None) or error
    text = " ".join(str(inner).split())
    return text.rpartition(": ")[2] or type(inner).__name__


def _query(scope: Scope) -> dict[str, str]:
    return {"fieldSelector": scope.fields, "labelSelector": scope.labels}


def _runs(namespace: str | None, name: str = "") -> str:
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace is not None else ""
    return f"/apis/{GROUP}/{VERSION}{place}/{PLURAL}" + (f"/{quote(name, safe='')}" if name else "")


def _core(namespace: str, kind: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/{kind}" + (f"/{quote(name, safe='')}" if name else "")
