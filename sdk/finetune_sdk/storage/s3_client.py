"""The connection to an S3 server: minio's client over a transport of ours that neither retries nor redirects."""

import io
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials as MinioCredentials
from minio.credentials.providers import Provider
from minio.error import S3Error, ServerError
from urllib3.response import BaseHTTPResponse

from finetune_sdk.errors import StorageDenied
from finetune_sdk.storage.credentials import AWS_ENDPOINT, Credentials, CredentialsSource, file_signature

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
"""Longest silence of a server; it may think about a large upload for a while."""
_SIGNED_FOR = timedelta(minutes=15)
"""As long as S3 accepts any other request after its date."""
_CHUNK = 256 * 1024
"""Bytes sent at a time: a socket's timeout then bounds a chunk, not a whole part on a slow line."""
_CONNECTIONS = 16
_QUOTED_BYTES = 2000


class _Transport(urllib3.PoolManager):
    """Sends one request once. Retries are the store's, because they must be signed anew."""

    def urlopen(self, method: str, url: str, *_: Any, **kw: Any) -> BaseHTTPResponse:
        body = kw.get("body")
        if isinstance(body, bytes) and body:
            kw["headers"] = {**(kw.get("headers") or {}), "Content-Length": str(len(body))}
            kw["body"] = io.BytesIO(body)
        response = super().urlopen(method, url, **{**kw, "redirect": False, "retries": False})
        if response.status >= 300 and method != "HEAD" and not _is_xml(response):
            text = response.read(_QUOTED_BYTES) if kw.get("preload_content") is False else response.data
            response.close()
            raise ServerError(text[:_QUOTED_BYTES].decode("utf-8", "replace"), response.status)
        return response


def _is_xml(response: BaseHTTPResponse) -> bool:
    return "xml" in response.headers.get("content-type", "")


class _Keys(Provider):
    """Asks the source before each request."""

    def __init__(self, source: CredentialsSource) -> None:
        self._source = source

    def retrieve(self) -> MinioCredentials:
        keys = self._source.load()
        if keys.access_key is None or keys.secret_key is None:
            raise StorageDenied("the keys of the S3 server went away during the run")
        return MinioCredentials(keys.access_key, keys.secret_key, keys.session_token)


@dataclass(frozen=True)
class Client:
    """minio's client, and the way to send what it has no method for."""

    minio: Minio
    http: _Transport

    def send(
        self,
        method: str,
        bucket: str,
        name: str,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> BaseHTTPResponse:
        """A request by a signed URL; what minio raises. minio has no public conditional write, nor single parts."""
        parameters: dict[str, str | list[str] | tuple[str]] = {**(query or {})}
        url = self.minio.get_presigned_url(method, bucket, name, expires=_SIGNED_FOR, extra_query_params=parameters)
        response = self.http.urlopen(method, url, body=body, headers=headers or {})
        if response.status >= 300:
            raise S3Error.fromxml(response)
        return response


class Clients:
    """The client that fits the credentials of now; made again when endpoint, region, CA or anonymity change."""

    def __init__(self, source: CredentialsSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._made_for: tuple[object, ...] = ()
        self._client: Client | None = None

    def current(self) -> tuple[Client, Credentials]:
        """Raises StorageDenied for credentials or certificates that cannot be used."""
        found = self._source.load()
        ca = file_signature(found.ca_file) if found.ca_file else None
        wanted = (found.endpoint, found.region, found.ca_file, ca, found.access_key is None)
        with self._lock:
            if self._client is None or wanted != self._made_for:
                self._client, self._made_for = _make(found, self._source), wanted
            return self._client, found


def _make(credentials: Credentials, source: CredentialsSource) -> Client:
    _hide_signatures()
    url = urlsplit(credentials.endpoint)
    secure = url.scheme == "https"
    http = _Transport(
        num_pools=4,
        maxsize=_CONNECTIONS,
        blocksize=_CHUNK,
        timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        ssl_context=_tls(credentials) if secure else None,
    )
    on_aws = credentials.endpoint == AWS_ENDPOINT or (url.hostname or "").endswith(".amazonaws.com")
    try:
        client = Minio(
            url.netloc,
            secure=secure,
            # Asking the bucket for its region takes a permission that a read-only key may lack, so only AWS is asked.
            region=credentials.region or (None if on_aws else "us-east-1"),
            http_client=http,
            credentials=_Keys(source) if credentials.access_key else None,
        )
    except ValueError as error:
        origin = credentials.origin
        raise StorageDenied(f"{error}: check {origin.endpoint} and {origin.region}") from None
    return Client(client, http)


def _tls(credentials: Credentials) -> ssl.SSLContext:
    if credentials.ca_file is None:
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        return context
    try:
        return ssl.create_default_context(cafile=str(credentials.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise StorageDenied(
            f"{credentials.origin.ca}: {credentials.ca_file} holds no certificates that can be read"
            f" ({error.strerror or error}): give a PEM file"
        ) from None


class _NoQueries(logging.Filter):
    """urllib3 logs the path of each request at debug level: with a signed URL's query, an access key and a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(arg) for arg in record.args)
        return True


def _without_query(value: object) -> object:
    return value.partition("?")[0] if isinstance(value, str) and "X-Amz-" in value else value


def _hide_signatures() -> None:
    logger = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(each, _NoQueries) for each in logger.filters):
        logger.addFilter(_NoQueries())


class ResumingStream(io.RawIOBase):
    """An object's bytes; after a failure that `again` allows, fetched anew from where they broke off."""

    def __init__(
        self,
        fetch: Callable[[int, str | None], BaseHTTPResponse | None],
        guarded: Callable[[Callable[[], bytes]], bytes],
        start: int,
    ) -> None:
        """`fetch(offset, etag)` opens the object from an offset, None at its end, and only if it has that etag;
        `guarded` runs a read and runs it again after a failure that may pass."""
        super().__init__()
        self._fetch = fetch
        self._guarded = guarded
        self._offset = start
        self._etag: str | None = None
        self._response: BaseHTTPResponse | None = None
        self._ended = False
        guarded(self._connect)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        data = self._guarded(lambda: self._read(size)) if size and not self._ended else b""
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def close(self) -> None:
        self._drop()
        super().close()

    def _connect(self) -> bytes:
        self._response = self._fetch(self._offset, self._etag)
        self._ended = self._response is None
        if self._response is not None and self._etag is None:
            self._etag = self._response.headers.get("etag", "").strip('"') or None
        return b""

    def _read(self, size: int) -> bytes:
        try:
            if self._response is None:
                self._connect()
            # Not decoded: offsets count stored bytes, whatever Content-Encoding they were stored with.
            data = self._response.read(size, decode_content=False) if self._response is not None else b""
        except BaseException:
            self._drop()
            raise
        self._ended = not data
        return data

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
