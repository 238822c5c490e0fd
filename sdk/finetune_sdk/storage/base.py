"""What a store is: objects below one URI, whole or absent, whatever holds them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from finetune_sdk.errors import DataInvalid

TEMPORARY_PREFIX = ".finetune-"
TEMPORARY_SUFFIX = ".part"
"""Files named so are writes under way: no key may be named so, and no listing shows them."""


@dataclass(frozen=True)
class Entry:
    """One stored object."""

    key: str
    """Relative to the store's URI, separated by '/'."""
    size: int
    """Bytes."""
    etag: str
    """Changes whenever the object is written again; means something to its own store only."""


class Store(Protocol):
    """Objects below one URI. Keys are relative and '/'-separated.

    Every method raises StorageUnavailable (unreachable, full; after its own retries) or StorageDenied (wrong key,
    no bucket, read-only), and DataInvalid for a key that would leave the store; messages name the object's URI.
    Safe to use from several threads.
    """

    @property
    def uri(self) -> str:
        """What the keys are relative to, without a '/' at its end."""

    def read(self, key: str) -> bytes:
        """The whole object. Raises ObjectNotFound."""

    def open(self, key: str, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """The object's bytes from `start` on, streamed; empty where `start` is at or behind the end.

        A connection that breaks is made again and the stream goes on at its offset; an object that was replaced in
        between raises StorageUnavailable rather than mixing two contents. Raises ObjectNotFound.
        """

    def write(self, key: str, data: bytes) -> None:
        """Store `data`, whole or not at all; replaces what was there."""

    def write_file(self, key: str, path: Path) -> None:
        """Store a local file, whole or not at all, without holding it in memory."""

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        """Store `data` only if the object still has `etag`; None: only if there is none yet.

        Returns the new etag, or None if the condition does not hold. Of several writers at once one wins.
        """

    def stat(self, key: str) -> Entry | None:
        """The object's entry, None if there is no such object."""

    def list(self, prefix: str = "", most: int | None = None) -> Iterator[Entry]:
        """All objects whose key starts with `prefix` (a text, not a folder), sorted by key as UTF-8.

        `most`: no more than so many are asked for, those that the store gives first.
        """

    def delete(self, key: str) -> None:
        """Remove the object; it need not exist."""

    def uri_of(self, key: str) -> str:
        """The object's own URI."""


def check_key(key: str, uri: str) -> str:
    """`key` itself, if it names something below `uri` and in only one way; raises DataInvalid otherwise."""
    parts = key.split("/")
    if not key or "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise DataInvalid(
            f"{key!r} is no name below {uri}: write it relative to that, with no '..', '.', '//' or leading '/'"
        )
    if any(is_temporary(part) for part in parts):
        raise DataInvalid(f"{key!r} below {uri} is named like an unfinished write: choose another name")
    return key


def check_prefix(prefix: str, uri: str) -> str:
    """`prefix` itself, if all that starts with it lies below `uri`; raises DataInvalid otherwise."""
    if prefix:
        check_key(prefix.removesuffix("/") or "/", uri)
    return prefix


def is_temporary(name: str) -> bool:
    """Whether a file's name is that of a write under way."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)
