"""Weights and configs from storage into a local cache, copied once for each content."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote

from finetune_sdk.errors import ObjectNotFound, StorageUnavailable, WeightsInvalid
from finetune_sdk.storage.base import Entry, Store
from finetune_trainer.cache_error import cache_error

Stores = Callable[[str], Store]
"""Opens the store below a URI."""
MOST_ENTRIES = 1000
"""Entries of a folder that are looked at: a model's folder has a dozen, a wrong URI may have millions."""


def split_uri(uri: str) -> tuple[str, str]:
    """The parent's URI and the last name."""
    parent, _, name = uri.rstrip("/").rpartition("/")
    return parent, name


def find_object(uri: str, stores: Stores) -> tuple[Store, Entry] | None:
    """The object at exactly this URI, with the store of its parent; None where there is none (a folder, say)."""
    parent, name = split_uri(uri)
    if parent.endswith(("/", ":")) or not name:  # a bucket itself
        return None
    store = stores(parent)
    entry = store.stat(unquote(name) if uri.startswith("file://") else name)
    return None if entry is None else (store, entry)


def direct_entries(store: Store) -> list[Entry]:
    """Objects that lie directly below the store's URI, of the first thousand below it."""
    return [entry for entry in store.list(most=MOST_ENTRIES) if "/" not in entry.key]


def fetch(store: Store, entries: Sequence[Entry], cache_root: Path) -> Path:
    """Copy objects into a folder of `cache_root` and return it; a folder that is there already is used again.

    What is there already was copied from the same keys, sizes and etags. The folder appears whole or not at all.
    Raises WeightsInvalid where an object vanished, StorageUnavailable where it changed while it was read, and
    StorageDenied too for a cache that cannot be written.
    """
    identity = "\n".join([store.uri, *(f"{entry.key} {entry.size} {entry.etag}" for entry in entries)])
    folder = cache_root / "weights" / hashlib.sha256(identity.encode()).hexdigest()[:32]
    if folder.is_dir():
        return folder
    try:
        _fill(folder, store, entries)
    except OSError as error:
        raise cache_error(error, folder.parent) from error
    return folder


def _fill(folder: Path, store: Store, entries: Sequence[Entry]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-", ignore_cleanup_errors=True) as part:
        filling = Path(part) / "files"
        filling.mkdir()
        for entry in entries:
            _copy(store, entry, filling / entry.key)
        try:
            filling.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same content
                raise


def _copy(store: Store, entry: Entry, path: Path) -> None:
    try:
        with store.open(entry.key) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except ObjectNotFound as error:
        raise WeightsInvalid(f"{store.uri_of(entry.key)} vanished while it was read") from error
    if path.stat().st_size != entry.size:
        raise StorageUnavailable(f"{store.uri_of(entry.key)} changed while it was read: run again")
