"""A Store in memory."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from finetune_sdk.errors import ObjectNotFound
from finetune_sdk.storage import Entry, check_key


class MemoryStore:
    """Objects below one URI, as long as the process lives."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._objects: dict[str, bytes] = {}

    def read(self, key: str) -> bytes:
        try:
            return self._objects[check_key(key, self.uri)]
        except KeyError:
            raise ObjectNotFound(f"{self.uri_of(key)} does not exist") from None

    def open(self, key: str, start: int = 0) -> AbstractContextManager[BinaryIO]:
        return io.BytesIO(self.read(key)[start:])

    def write(self, key: str, data: bytes) -> None:
        self._objects[check_key(key, self.uri)] = bytes(data)

    def write_file(self, key: str, path: Path) -> None:
        self.write(key, path.read_bytes())

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        found = self.stat(key)
        if (found.etag if found else None) != etag:
            return None
        self.write(key, data)
        return _etag(data)

    def stat(self, key: str) -> Entry | None:
        data = self._objects.get(check_key(key, self.uri))
        return None if data is None else Entry(key, len(data), _etag(data))

    def list(self, prefix: str = "", most: int | None = None) -> Iterator[Entry]:
        keys = sorted((key for key in self._objects if key.startswith(prefix)), key=str.encode)[:most]
        return iter([Entry(key, len(self._objects[key]), _etag(self._objects[key])) for key in keys])

    def delete(self, key: str) -> None:
        self._objects.pop(check_key(key, self.uri), None)

    def uri_of(self, key: str) -> str:
        return f"{self.uri}/{check_key(key, self.uri)}"


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
