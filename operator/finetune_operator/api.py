"""The API server, as JSON in and out: the one place that speaks HTTP to it."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes import aio
from pydantic_core import from_json

from finetune_operator.metrics import Metrics
from finetune_operator.objects import Json

MERGE_PATCH = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
TIMEOUT_SECONDS = 30.0
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiError(Exception):
    """The API server said no, or nothing; `status` is 0 where it could not be reached."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""


class NoCluster(Exception):
    """Nothing says where the API server is."""


class Api:
    """Requests to one API server as one user."""

    def __init__(self, client: aio.client.ApiClient, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics

    async def get(self, path: str, query: Mapping[str, str] | None = None, accept: str = "application/json") -> Json:
        """The object or list at `path`."""
        return await self._request("GET", path, query=query, headers={"Accept": accept})

    async def text(self, path: str) -> str:
        """What is at `path`, which is no JSON."""
        return (await self._send("GET", path)).decode()

    async def post(self, path: str, body: Json) -> Json:
        """Create `body` below `path`."""
        return await self._request("POST", path, body=body)

    async def patch(self, path: str, body: Json) -> Json:
        """Merge `body` into the object at `path`."""
        return await self._request("PATCH", path, body=body, headers={"Content-Type": MERGE_PATCH})

    async def put(self, path: str, body: Json) -> Json:
        """Replace the object at `path`."""
        return await self._request("PUT", path, body=body)

    async def delete(self, path: str, body: Json) -> Json:
        """Delete the object at `path` by `body`, DeleteOptions."""
        return await self._request("DELETE", path, body=body)

    @staticmethod
    def serialize(typed: Any) -> Json:
        """A typed object as JSON. The client's own way dumps each part once more for each part that it lies in."""
        document: Json = typed.model_dump(mode="json", by_alias=True, exclude_none=True)
        return document

    async def connection(self) -> Json:
        """Server and credentials, as kopf takes them; asked for again whenever the server refuses the token."""
        configuration = self._client.configuration
        key = await configuration.get_api_key_with_prefix("BearerToken")
        scheme, _, token = (key or "").rpartition(" ")
        return {
            "server": configuration.host,
            "ca_path": configuration.ssl_ca_cert,
            "insecure": not configuration.verify_ssl,
            "scheme": scheme or None,
            "token": token or None,
            "certificate_path": configuration.cert_file,
            "private_key_path": configuration.key_file,
            "proxy_url": configuration.proxy,
            "default_namespace": "default",
        }

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        document: Json = from_json(await self._send(method, path, query=query, body=body, headers=headers))
        return document

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        began = time.perf_counter()
        status = 0
        try:
            sent = {"Content-Type": "application/json", **(headers or {}), **self._client.default_headers}
            await self._client.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
            url = self._client.configuration.host + path
            if query:
                url += f"?{urlencode(dict(query))}"
            response = await self._client.rest_client.request(
                method, url, headers=sent, body=body, _request_timeout=TIMEOUT_SECONDS
            )
            status = response.status
            text: bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"the API server cannot be reached: {error or type(error).__name__}") from error
        finally:
            self._metrics.api_request(method, resource_of(path), status, time.perf_counter() - began)
        if status >= 400:
            raise _error(status, text, response.getheader("Retry-After"))
        return text


async def connect(context: str | None, metrics: Metrics) -> Api:
    """By the pod's service account, else by the current kubeconfig context or the one named."""
    configuration = aio.client.Configuration()
    if context is None and in_cluster():
        aio.config.load_incluster_config(client_configuration=configuration)
    else:
        await _load_kubeconfig(context, configuration)
    configuration.connection_pool_maxsize = 64
    configuration.proxy = configuration.proxy or environment_proxy(configuration.host)
    # aiohttp would look for a proxy, and for a .netrc on the disk, at each request: a quarter of the operator's time.
    configuration.client_session_kwargs = {"trust_env": False}
    return Api(aio.client.ApiClient(configuration), metrics)


async def _load_kubeconfig(context: str | None, configuration: aio.client.Configuration) -> None:
    try:
        await aio.config.load_kube_config(_kubeconfig(), context=context, client_configuration=configuration)
    except aio.config.ConfigException as error:
        raise NoCluster(
            f"no cluster: {error}. Set KUBECONFIG to a kubeconfig with a current context, or give --context"
        ) from error


def _kubeconfig() -> str | None:
    """As the environment says now: the library reads it when it is imported."""
    return os.environ.get("KUBECONFIG")


def environment_proxy(server: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for `server`."""
    url = urlsplit(server)
    if proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    return getproxies().get(url.scheme)


def resource_of(path: str) -> str:
    """The resource that `path` is of, with its subresource."""
    parts = path.strip("/").split("/")
    rest = parts[2 if parts[0] == "api" else 3 :]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    return "/".join([rest[0], *rest[2:3]]) if rest else parts[0]


def in_cluster() -> bool:
    """Whether this is a pod with a service account."""
    return (ACCOUNT / "token").exists()


def own_namespace(context: str | None) -> str:
    """The pod's namespace, else the context's."""
    if context is None and in_cluster():
        return (ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    contexts, active = aio.config.list_kube_config_contexts(_kubeconfig())
    chosen = next((one for one in contexts if one["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")


def _error(status: int, text: bytes, retry_after: str | None) -> ApiError:
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text.decode(errors="replace")[:500]
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return ApiError(status, str(message), seconds)
