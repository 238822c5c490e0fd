"""A store in a bucket of any S3-compatible server."""

import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar
from xml.etree import ElementTree as ET

from minio.error import MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from finetune_sdk.errors import FinetuneError, StorageDenied, StorageUnavailable
from finetune_sdk.storage.base import Entry, check_key, check_prefix
from finetune_sdk.storage.credentials import Credentials, CredentialsSource
from finetune_sdk.storage.file_errors import translate_file_error
from finetune_sdk.storage.retry import Attempts, Retry
from finetune_sdk.storage.s3_client import Client, Clients, ResumingStream
from finetune_sdk.storage.s3_errors import Answer, Verdict, translate_answer, translate_transport_error
from finetune_sdk.storage.s3_upload import PART_SIZE, Multipart, ReadAt, put
from finetune_sdk.uri import path_to_uri

_READ_AHEAD = 1 << 20
"""Bytes."""
_NEVER_AN_ETAG = "0" * 32

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class S3Store:
    """Objects below `s3://BUCKET[/PREFIX]`, addressed by path (on AWS by host).

    Nothing is asked of the server before the first operation.
    """

    def __init__(self, bucket: str, prefix: str, credentials: CredentialsSource, retry: Retry) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._clients = Clients(credentials)
        self._retry = retry
        self._reached = False
        self._bucket_seen = False
        self._conditions_checked: set[str] = set()

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def uri_of(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._name(key)}"

    def read(self, key: str) -> bytes:
        with self.open(key) as stream:
            return stream.read()

    def open(self, key: str, start: int = 0) -> AbstractContextManager[BinaryIO]:
        raw = ResumingStream(partial(self._fetch, self._name(key)), partial(self._run, key), start)
        return io.BufferedReader(raw, _READ_AHEAD)

    def write(self, key: str, data: bytes) -> None:
        self._upload(key, len(data), lambda start, size: data[start : start + size])

    def write_file(self, key: str, path: Path) -> None:
        try:
            with path.open("rb") as stream:
                descriptor = stream.fileno()
                size = os.fstat(descriptor).st_size
                self._upload(key, size, lambda start, length: os.pread(descriptor, length, start))
        except OSError as error:
            raise translate_file_error(error, path_to_uri(path.absolute()), writing=False) from error

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        condition = {"If-None-Match": "*"} if etag is None else {"If-Match": f'"{etag}"'}
        attempts = Attempts(self._retry)
        new = self._run(key, lambda: self._put_if(key, data, condition), attempts)
        if new is not None:
            self._check_conditions(key, data, next(iter(condition)))
            return new
        # The condition may have failed because an attempt of ours went through and only its answer was lost.
        if attempts.failed and (found := self.stat(key)) is not None and self.read(key) == data:
            return found.etag
        return None

    def stat(self, key: str) -> Entry | None:
        name = self._name(key)
        found = self._run(key, lambda: self._head(name))
        if found is None and not self._bucket_seen:  # the answer to a HEAD does not say which of the two is missing
            self._run(key, self._see_bucket)
        return Entry(key, *found) if found is not None else None

    def list(self, prefix: str = "", most: int | None = None) -> Iterator[Entry]:
        check_prefix(prefix, self.uri)
        # In memory, to sort: not all servers list "a.txt" before "a/b" (SeaweedFS). Read anew after a failure.
        entries = self._run(prefix, lambda: tuple(islice(self._entries(prefix), most)))
        return iter(sorted(entries, key=lambda entry: entry.key.encode()))

    def delete(self, key: str) -> None:
        name = self._name(key)
        self._run(key, lambda: self._remove(name))

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key, self.uri)

    def _client(self) -> Client:
        return self._clients.current()[0]

    def _upload(self, key: str, size: int, read: ReadAt) -> None:
        name = self._name(key)
        if size <= PART_SIZE:
            data = read(0, size)
            self._run(key, lambda: put(self._client(), self._bucket, name, data))
            return
        upload = Multipart(self._client, partial(self._run, key), self._bucket, name)
        try:
            upload.send(size, read)
        except StorageDenied:
            # "No such upload" also means: completed, by an attempt of which only the answer was lost.
            found = self.stat(key) if upload.etag else None
            if found is None or found.etag != upload.etag:
                raise

    def _check_conditions(self, key: str, data: bytes, kind: str) -> None:
        """Once for each kind of condition: send the same bytes again under one that cannot hold.

        A server that takes them ignores conditions. Nothing is lost by it, but two writers would not see each other.
        """
        if kind in self._conditions_checked:
            return
        self._conditions_checked.add(kind)
        impossible = {kind: "*" if kind == "If-None-Match" else f'"{_NEVER_AN_ETAG}"'}
        if self._run(key, lambda: self._put_if(key, data, impossible)) is not None:
            _log.warning(
                "%s: the server ignores %s: a second run on the same output would go unnoticed", self.uri_of(key), kind
            )

    # One request each; what they raise is translated, and they are done again, by _run.

    def _put_if(self, key: str, data: bytes, condition: dict[str, str]) -> str | None:
        try:
            return put(self._client(), self._bucket, self._name(key), data, condition=condition)
        except S3Error as error:
            if error.response.status == 412 or (error.code == "NoSuchKey" and "If-Match" in condition):
                return None
            raise

    def _head(self, name: str) -> tuple[int, str] | None:
        try:
            found = self._client().minio.stat_object(self._bucket, name)
        except S3Error as error:
            if error.response.status == 404:
                return None
            if error.response.status == 403:
                self._see_bucket()  # raises the reason, which an answer to a HEAD has no room for
            raise
        return found.size or 0, found.etag or ""

    def _see_bucket(self) -> None:
        try:
            # By a prefix, because a key may be allowed to list its own only; one below which nothing lies.
            listed = self._client().minio.list_objects(self._bucket, prefix=f"{self._prefix}\x7f")
            next(iter(listed), None)
        except S3Error as error:
            if error.code != "AccessDenied":
                raise
        self._bucket_seen = True

    def _entries(self, prefix: str) -> Iterator[Entry]:
        for item in self._client().minio.list_objects(self._bucket, prefix=self._prefix + prefix, recursive=True):
            name = item.object_name or ""
            if not name.endswith("/"):  # a folder's marker, as consoles make them
                yield Entry(name.removeprefix(self._prefix), item.size or 0, (item.etag or "").strip('"'))

    def _fetch(self, name: str, offset: int, etag: str | None) -> BaseHTTPResponse | None:
        headers: dict[str, str | list[str] | tuple[str]] = {"If-Match": f'"{etag}"'} if etag else {}
        try:
            response = self._client().minio.get_object(self._bucket, name, offset=offset, request_headers=headers)
        except S3Error as error:
            if error.code == "InvalidRange":
                return None
            if error.response.status == 412:
                uri = f"s3://{self._bucket}/{name}"
                raise StorageUnavailable(f"{uri} was replaced while it was read: start again") from None
            raise
        if offset and response.status != 206:
            response.close()
            raise StorageUnavailable(f"s3://{self._bucket}/{name}: the server does not read from an offset")
        return response

    def _remove(self, name: str) -> None:
        try:
            self._client().minio.remove_object(self._bucket, name)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise

    def _run(self, key: str, action: Callable[[], _T], attempts: Attempts | None = None) -> _T:
        """Do `action`, again after failures that may pass; what it raises is ours and names the object."""
        attempts = attempts or Attempts(self._retry)
        uri = f"s3://{self._bucket}/{self._prefix}{key}".rstrip("/")
        while True:
            _, credentials = self._clients.current()
            try:
                done = action()
            except (MinioException, HTTPError, OSError, ET.ParseError, ValueError) as error:  # minio parses unguarded
                verdict = _verdict(error, uri, self._bucket, credentials)
            else:
                self._reached = True
                return done
            patience = self._retry.patience if self._reached else self._retry.first_patience
            if not self._may_pass(verdict, credentials) or not attempts.pause(patience):
                # Outside of the except block, so that the original is not chained: it may hold keys and signed URLs.
                raise _with_patience(verdict, attempts)

    def _may_pass(self, verdict: Verdict, used: Credentials) -> bool:
        """So may a refusal, if the keys were renewed in between."""
        return verdict.transient or self._clients.current()[1].secrets != used.secrets


def _with_patience(verdict: Verdict, attempts: Attempts) -> FinetuneError:
    error = verdict.error
    return type(error)(f"{error} (tried {attempts.failed} times)") if attempts.failed > 1 else error


def _verdict(error: Exception, uri: str, bucket: str, credentials: Credentials) -> Verdict:
    if isinstance(error, S3Error):
        answer = Answer(error.response.status, error.code or "", error.message or "")
    elif isinstance(error, ServerError):
        answer = Answer(error.status_code, "", str(error))
    elif isinstance(error, HTTPError | OSError):
        return translate_transport_error(error, uri, credentials)
    else:
        answer = Answer(0, "", str(error))
    return translate_answer(answer, uri, bucket, credentials)
