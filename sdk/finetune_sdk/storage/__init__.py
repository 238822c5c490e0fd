"""file:// and s3:// behind one small interface."""

import os
import re

from finetune_sdk.errors import InvalidSpec
from finetune_sdk.storage.base import Entry, Store, check_key
from finetune_sdk.storage.credentials import (
    Credentials,
    CredentialsDirectory,
    CredentialsSource,
    credentials_from_environment,
)
from finetune_sdk.storage.file import FileStore
from finetune_sdk.storage.retry import Retry
from finetune_sdk.uri import uri_to_path

__all__ = [
    "Credentials",
    "CredentialsDirectory",
    "CredentialsSource",
    "Entry",
    "Retry",
    "Store",
    "check_bucket",
    "check_key",
    "credentials_from_environment",
    "open_object",
    "open_store",
]

_BUCKET = re.compile(r"(?!.*(\.\.|\.-|-\.))(?!\d+\.\d+\.\d+\.\d+$)[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_RETRY = Retry()


def open_store(uri: str, credentials: CredentialsSource | None = None, *, retry: Retry = _RETRY) -> Store:
    """The store of all objects below a file:// or s3:// URI; no request is made and no folder needed yet.

    `credentials`: for s3 only; None: those of the environment. Raises InvalidSpec for a URI of another kind.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "file":
        return FileStore(uri_to_path(uri))
    if separator and scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        check_bucket(bucket)
        prefix = prefix.rstrip("/")
        if prefix:
            check_key(prefix, f"s3://{bucket}")
        # Imported here: it takes half a second, which `finetune --help` does not have.
        from finetune_sdk.storage.s3 import S3Store

        return S3Store(bucket, prefix, credentials or credentials_from_environment(os.environ), retry)
    raise InvalidSpec(_why_unknown(scheme if separator else "", uri))


def open_object(uri: str, credentials: CredentialsSource | None = None, *, retry: Retry = _RETRY) -> tuple[Store, str]:
    """The store of the folder that an object lies in, and the object's key there. Raises InvalidSpec."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "file":
        path = uri_to_path(uri)
        if uri.endswith("/") or not path.name:
            raise InvalidSpec(f"{uri!r} names a folder: name a file in it")
        return FileStore(path.parent), path.name
    parent, _, key = uri.rpartition("/")
    if separator and scheme == "s3" and ("/" not in rest or not key):
        raise InvalidSpec(f"{_without_user(uri)!r} names a bucket or a folder: name an object in it")
    return open_store(parent, credentials, retry=retry), key


def check_bucket(bucket: str) -> None:
    """Raise InvalidSpec for what can be no bucket's name."""
    if "@" in bucket:  # the value may hold keys, so it is not repeated
        raise InvalidSpec(
            "the s3:// URI holds a user or keys before '@': leave them out, keys are given apart from URIs"
        )
    if not _BUCKET.fullmatch(bucket):
        raise InvalidSpec(f"{bucket!r} is no bucket's name: write s3://BUCKET/KEY")


def _why_unknown(scheme: str, uri: str) -> str:
    shown = _without_user(uri)
    if scheme in ("http", "https", "ftp"):
        return f"{shown!r} is on the web: download it first and give its file:// or s3:// URI"
    if not scheme:
        return f"{shown!r} has no scheme: write file:///ABSOLUTE/PATH or s3://BUCKET/KEY"
    return f"{shown!r}: {scheme}:// is not supported, only file:///ABSOLUTE/PATH and s3://BUCKET/KEY"


def _without_user(uri: str) -> str:
    """`uri` without what may be a password or a signature."""
    return re.sub(r"://[^/]*@", "://...@", uri).partition("?")[0]
