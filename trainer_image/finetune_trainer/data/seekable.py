"""A stored object as a file that can be read from anywhere: what Parquet, which is read from its end, asks for."""

import io
from contextlib import AbstractContextManager
from typing import BinaryIO

from finetune_sdk.storage import Entry, Store

SKIP = 1 << 20
"""Bytes that are read and dropped rather than asked for anew: a request costs as much as a megabyte."""


def open_seekable(store: Store, entry: Entry) -> BinaryIO:
    """The object, buffered; reading raises the store's errors."""
    return io.BufferedReader(SeekableObject(store, entry), SKIP)


class SeekableObject(io.RawIOBase):
    """Reads an object of a store; a jump makes a new request from there on."""

    def __init__(self, store: Store, entry: Entry) -> None:
        super().__init__()
        self._store = store
        self._entry = entry
        self._at = 0
        self._context: AbstractContextManager[BinaryIO] | None = None
        self._stream: BinaryIO | None = None
        self._stream_at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        data = self._from_here().read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        self._stream_at = self._at
        return len(data)

    def close(self) -> None:
        self._end()
        super().close()

    def _from_here(self) -> BinaryIO:
        """A stream that stands at `_at`."""
        stream, ahead = self._stream, self._at - self._stream_at
        if stream is not None and 0 <= ahead <= SKIP:
            while ahead and (dropped := stream.read(ahead)):
                ahead -= len(dropped)
            return stream
        self._end()
        self._context = self._store.open(self._entry.key, self._at)
        self._stream = self._context.__enter__()
        self._stream_at = self._at
        return self._stream

    def _end(self) -> None:
        context, self._context, self._stream = self._context, None, None
        if context is not None:
            context.__exit__(None, None, None)
