"""Uploads in parts: sent side by side, each tried again by itself, visible only once all are there."""

import base64
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Protocol, TypeVar
from xml.etree import ElementTree as ET

from minio.error import MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError

from finetune_sdk.errors import FinetuneError
from finetune_sdk.storage.s3_client import Client

PART_SIZE = 16 << 20
"""Bytes; what is larger is sent in such parts. S3 wants at least 5 MiB each."""
_MOST_PARTS = 10_000
_PARALLEL_PARTS = 4
"""Also bounds the memory of an upload: so many parts."""
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".txt": "text/plain; charset=utf-8",
}

ReadAt = Callable[[int, int], bytes]
"""read(start, size): those bytes of what is uploaded."""
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def put(
    client: Client,
    bucket: str,
    name: str,
    data: bytes,
    *,
    query: dict[str, str] | None = None,
    condition: dict[str, str] | None = None,
) -> str:
    """One object, or one part of it, in one request; returns its etag. Raises what minio raises."""
    headers = {
        # Lets the server find what was damaged on its way: a signed URL leaves the body unsigned.
        "Content-MD5": base64.b64encode(_md5(data).digest()).decode(),
        "Content-Type": content_type(name),
        **(condition or {}),
    }
    response = client.send("PUT", bucket, name, query=query, headers=headers, body=data)
    return response.headers.get("etag", "").strip('"')


class Run(Protocol):
    """Does a request, again after failures that may pass; what it raises is ours."""

    def __call__(self, action: Callable[[], _T], /) -> _T: ...


class Multipart:
    """One upload in parts; `client` gives the client of now."""

    def __init__(self, client: Callable[[], Client], run: Run, bucket: str, name: str) -> None:
        self._client = client
        self._run = run
        self._bucket = bucket
        self._name = name
        self.etag: str | None = None
        """What the whole will have as its etag, once all parts are sent: the MD5 of their MD5s, and their number."""

    def send(self, size: int, read: ReadAt) -> None:
        """Upload. After an error the parts are removed, if the server can be reached: they are invisible anyway."""
        upload = self._run(self._begin)
        try:
            etags = self._send_parts(upload, size, read)
            self.etag = _joined(etags)
            self._run(lambda: self._finish(upload, etags))
        except BaseException:
            self._abort(upload)
            raise

    def _begin(self) -> str:
        headers = {"Content-Type": content_type(self._name)}
        response = self._client().send("POST", self._bucket, self._name, query={"uploads": ""}, headers=headers)
        return _text(response.data, "UploadId")

    def _send_parts(self, upload: str, size: int, read: ReadAt) -> list[str]:
        step = max(PART_SIZE, -(-size // _MOST_PARTS))

        def send(number: int) -> str:
            start = (number - 1) * step
            data = read(start, min(step, size - start))
            query = {"partNumber": str(number), "uploadId": upload}
            return self._run(lambda: put(self._client(), self._bucket, self._name, data, query=query))

        with ThreadPoolExecutor(_PARALLEL_PARTS, "upload") as pool:
            sent = [pool.submit(send, number) for number in range(1, -(-size // step) + 1)]
            try:
                return [part.result() for part in sent]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _finish(self, upload: str, etags: list[str]) -> None:
        root = ET.Element("CompleteMultipartUpload")
        for number, etag in enumerate(etags, 1):
            part = ET.SubElement(root, "Part")
            ET.SubElement(part, "PartNumber").text = str(number)
            ET.SubElement(part, "ETag").text = f'"{etag}"'
        query, headers = {"uploadId": upload}, {"Content-Type": "application/xml"}
        response = self._client().send(
            "POST", self._bucket, self._name, query=query, headers=headers, body=ET.tostring(root)
        )
        if _local(_parse(response.data)) == "Error":  # found by the server after it had begun to answer 200
            raise S3Error.fromxml(response)

    def _abort(self, upload: str) -> None:
        """Tried once: the error that led here is the one to tell, and soon."""
        try:
            self._client().send("DELETE", self._bucket, self._name, query={"uploadId": upload})
        except (MinioException, HTTPError, OSError, FinetuneError):
            _log.info("s3://%s/%s: the parts of a broken upload are left on the server", self._bucket, self._name)


def content_type(name: str) -> str:
    """So that a browser shows a report rather than save it."""
    return _CONTENT_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")


def _joined(etags: list[str]) -> str | None:
    try:
        joined = b"".join(bytes.fromhex(etag) for etag in etags)
    except ValueError:  # of encrypted parts: some servers' etags are no MD5 then
        return None
    return f"{_md5(joined).hexdigest()}-{len(etags)}"


def _md5(data: bytes) -> "hashlib._Hash":
    return hashlib.md5(data, usedforsecurity=False)


def _parse(xml: bytes) -> ET.Element:
    try:
        return ET.fromstring(xml)  # noqa: S314 - from the user's own server, and expat bounds expansion
    except ET.ParseError:
        raise ServerError("the answer is no XML", 502) from None


def _local(element: ET.Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _text(xml: bytes, name: str) -> str:
    for element in _parse(xml).iter():
        if _local(element) == name and element.text:
            return element.text
    raise ServerError(f"the answer has no {name}", 502)
