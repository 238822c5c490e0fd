"""A store in a folder: whole files by rename, conditions by hard link and lock."""

import errno
import fcntl
import io
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from finetune_sdk.errors import FinetuneError, ObjectNotFound
from finetune_sdk.storage.base import (
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    Entry,
    check_key,
    check_prefix,
    is_temporary,
)
from finetune_sdk.storage.file_errors import translate_file_error
from finetune_sdk.uri import path_to_uri

_BUFFER = 1 << 20
"""Bytes that are copied or read ahead at a time."""
_FOLDER_TRIES = 10
"""A folder may be tidied away between making it and writing into it, by a deletion in another process."""
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class FileStore:
    """Objects as files below a folder, which need not exist before the first write.

    A write goes to a hidden file beside its target and is renamed, so it is whole or absent, also after a power cut.
    Symlinks are followed. The etag is made of inode, modification time and size: cheap, and new at each write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._swept: set[Path] = set()

    @property
    def uri(self) -> str:
        return path_to_uri(self._folder)

    def uri_of(self, key: str) -> str:
        return path_to_uri(self._path(key))

    def read(self, key: str) -> bytes:
        with self.open(key) as stream:
            return stream.read()

    def open(self, key: str, start: int = 0) -> AbstractContextManager[BinaryIO]:
        path = self._path(key)
        with _translated(path, writing=False):
            raw = _ReadFile(path)
            raw.seek(start)
            return io.BufferedReader(raw, _BUFFER)

    def write(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with _translated(path, writing=True):
            self._replace(path, lambda target: _write_all(target, data))

    def write_file(self, key: str, path: Path) -> None:
        target = self._path(key)
        with _translated(path, writing=False):
            source = path.open("rb")
        with source, _translated(target, writing=True):
            self._replace(target, lambda stream: shutil.copyfileobj(source, stream, _BUFFER))

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        path = self._path(key)
        with _translated(path, writing=True), self._temporary(path, lambda target: _write_all(target, data)) as written:
            # Renaming and linking keep inode, time and size, so the etag is known beforehand.
            new = _etag(written.stat())
            kept = _link(written, path) if etag is None else _replace_if(written, path, etag)
            return new if kept else None

    def stat(self, key: str) -> Entry | None:
        path = self._path(key)
        with _translated(path, writing=False):
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return Entry(key, status.st_size, _etag(status)) if path.is_file() else None

    def list(self, prefix: str = "", most: int | None = None) -> Iterator[Entry]:
        check_prefix(prefix, self.uri)
        parent = prefix.rpartition("/")[0]
        folder = self._folder / parent
        return islice(self._walk(folder, f"{parent}/" if parent else "", prefix, ()), most)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _translated(path, writing=True):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            self._prune(path.parent)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key, path_to_uri(self._folder))

    def _walk(self, folder: Path, at: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
        """Entries below `folder`, whose key is `at`, by key; `above` are the folders that were entered on the way."""
        with _translated(folder, writing=False):
            try:
                status = folder.stat()
                names = [(item.name, item.is_dir(), item.is_file()) for item in os.scandir(folder)]
            except (FileNotFoundError, NotADirectoryError):
                return
        here = (status.st_dev, status.st_ino)
        if here in above:  # a symlink to a folder that it lies in
            return
        # Folders sort as their keys do, with the '/': "a.txt" comes before "a/b", which comes before "a0".
        for name, is_folder, is_file in sorted(names, key=lambda item: os.fsencode(item[0] + "/" * item[1])):
            key = at + name
            if is_folder and (f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/")):
                yield from self._walk(folder / name, f"{key}/", prefix, (*above, here))
            elif is_file and key.startswith(prefix) and not is_temporary(name):
                entry = self.stat(key)
                if entry is not None:  # else deleted in the meantime
                    yield entry

    def _replace(self, path: Path, fill: Callable[[BinaryIO], None]) -> None:
        with self._temporary(path, fill) as written:
            written.replace(path)
            _sync_folder(path.parent)

    @contextmanager
    def _temporary(self, path: Path, fill: Callable[[BinaryIO], None]) -> Iterator[Path]:
        """A filled, flushed and locked hidden file beside `path`; gone at the end unless it was renamed."""
        name = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        with self._create(name) as stream:
            try:
                fill(stream)
                stream.flush()
                now = time.time_ns()
                os.utime(stream.fileno(), ns=(now, now))  # finer than the kernel's clock tick: the etag needs it
                os.fsync(stream.fileno())
                yield name
            finally:
                name.unlink(missing_ok=True)

    def _create(self, name: Path) -> BinaryIO:
        for _ in range(_FOLDER_TRIES):
            name.parent.mkdir(parents=True, exist_ok=True)
            self._sweep(name.parent)
            try:
                stream = name.open("xb")
            except FileNotFoundError:
                continue
            # Locked as long as its writer lives: how a later writer knows what a killed one left behind.
            fcntl.flock(stream, fcntl.LOCK_EX)
            if os.fstat(stream.fileno()).st_nlink:
                return stream
            stream.close()  # taken for left behind before it was locked
        raise OSError(errno.ENOENT, "the folder is deleted as often as it is made")

    def _sweep(self, folder: Path) -> None:
        """Once a folder: remove the unfinished writes of processes that were killed."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        for item in folder.iterdir():
            if is_temporary(item.name):
                _remove_if_abandoned(item)

    def _prune(self, folder: Path) -> None:
        """Remove folders that have become empty: S3 has none either."""
        while folder != self._folder:
            try:
                folder.rmdir()
            except OSError:
                return
            self._swept.discard(folder)
            folder = folder.parent


class _ReadFile(io.FileIO):
    """A file whose read errors are ours: a disk may fail in mid-read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._path = path

    def readinto(self, buffer: "memoryview | bytearray") -> int | None:  # type: ignore[override]
        with _translated(self._path, writing=False):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _translated(self._path, writing=False):
            return super().readall()


@contextmanager
def _translated(path: Path, *, writing: bool) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translate(error, path, writing=writing) from error


def _translate(error: OSError, path: Path, *, writing: bool) -> FinetuneError:
    translated = translate_file_error(error, path_to_uri(path), writing=writing)
    if not writing and isinstance(translated, ObjectNotFound) and not _exists(path.parent):
        return ObjectNotFound(f"{translated}, nor does its folder")
    return translated


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # its name is longer than any can be
        return False


def _write_all(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def _link(written: Path, path: Path) -> bool:
    """Give the file its name only if that is free; atomic between processes and machines."""
    try:
        os.link(written, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _replace_if(written, path, None)
    _sync_folder(path.parent)
    return True


def _replace_if(written: Path, path: Path, etag: str | None) -> bool:
    """Rename if the target still has `etag` (None: is absent); atomic between those who ask so."""
    with _locked(path.parent):
        try:
            found = _etag(path.stat())
        except FileNotFoundError:
            found = None
        if found != etag:
            return False
        written.replace(path)
    _sync_folder(path.parent)
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone among those who hold this lock; it leaves no file behind and ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_if_abandoned(item: Path) -> None:
    try:
        with item.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            item.unlink()
    except OSError:  # its writer lives, or it is not ours to remove
        return


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)
