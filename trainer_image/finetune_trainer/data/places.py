"""Where pictures and tables lie: URIs, the stores that open them, and what a listing of them says."""

import hashlib
import json
import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from finetune_sdk.errors import DataInvalid, InvalidSpec, ObjectNotFound
from finetune_sdk.storage import Entry, Store
from finetune_sdk.uri import path_to_uri, uri_to_path
from finetune_trainer.data.types import BadRow

Stores = Callable[[str], Store]
"""Opens the store of everything below a URI."""
LARGEST_FILE = 256 << 20
"""Bytes of one encoded picture that are still read into memory."""
FETCH_HINT = (
    "pictures are not downloaded: fetch them first, for instance with `img2dataset --url_list TABLE "
    "--output_folder SHARDS --output_format webdataset`, and give SHARDS as uri"
)


@dataclass(frozen=True)
class Place:
    """One object: `key` below the URI of a folder."""

    folder: str
    key: str


def parent_of(uri: str) -> Place:
    """The folder that holds `uri`, and its name there; a bucket is held by nothing and keeps the name ''."""
    if uri.startswith("file://"):
        path = uri_to_path(uri)
        return Place(path_to_uri(path.parent), path.name)
    scheme, _, rest = uri.rstrip("/").partition("://")
    folder, slash, name = rest.rpartition("/")
    return Place(f"{scheme}://{folder}", name) if slash else Place(uri, "")


def pattern_of(uri: str) -> Place | None:
    """The folder before the first brace and the pattern below it; None for a URI without braces."""
    path = str(uri_to_path(uri)) if uri.startswith("file://") else uri
    head, brace, _ = path.partition("{")
    if not brace:
        return None
    folder = head.rpartition("/")[0]
    return Place(path_to_uri(Path(folder or "/")) if uri.startswith("file://") else folder, path[len(folder) + 1 :])


def resolve(base: str, cell: str) -> Place:
    """The picture that a table names: a path below `base` or beside it, an absolute path, a file:// or an s3:// URI.

    Raises BadRow for an address that is not read (http, gs, ...) or names no file.
    """
    scheme, separator, _ = cell.partition("://")
    if separator:
        if scheme.lower() in ("http", "https"):
            raise BadRow("image-url", f"{cell} is a web address; {FETCH_HINT}")
        if scheme not in ("file", "s3"):
            raise BadRow("image-url", f"{cell}: only paths, file:// and s3:// are read; copy the pictures there")
        return _from_the_root(cell)
    if cell.startswith("data:"):
        raise BadRow("image-url", f"{cell[:40]}... is a data URI: write the picture to a file and name that")
    if "\0" in cell or not (name := posixpath.normpath(cell)) or name in (".", "..", "/"):
        raise BadRow("missing-image", f"{cell!r} names no file")
    if name.startswith("/"):
        return Place("file:///", name.lstrip("/"))
    while name.startswith("../"):
        name, base = name[3:], parent_of(base).folder
    return Place(base, name)


def _from_the_root(uri: str) -> Place:
    """A URI's place below its bucket or the file system: one listing then serves all that lie near each other."""
    if uri.startswith("file://"):
        try:
            return Place("file:///", str(uri_to_path(uri)).lstrip("/"))
        except InvalidSpec as error:
            raise BadRow("missing-image", str(error)) from None
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise BadRow("missing-image", f"{uri!r} names no object")
    return Place(f"s3://{bucket}", key)


def list_places(places: Iterable[Place], stores: Stores) -> dict[Place, Entry]:
    """Size and etag of each of `places` that exists, by few listings in place of a request for each.

    Only the deepest folder that holds all of a base's places is listed.
    """
    found: dict[Place, Entry] = {}
    by_folder: dict[str, set[str]] = {}
    for place in places:
        by_folder.setdefault(place.folder, set()).add(place.key)
    for folder, keys in by_folder.items():
        common = posixpath.commonpath([posixpath.dirname(key) for key in keys])
        for entry in stores(folder).list(f"{common}/" if common else ""):
            if entry.key in keys:
                found[Place(folder, entry.key)] = entry
    return found


def read_picture(store: Store, key: str, entry: Entry | None) -> bytes:
    """The encoded picture; `entry` is what the listing said of it. Raises BadRow where it is missing or too large."""
    if entry is None:
        raise BadRow("missing-image", f"{store.uri_of(key)} is not there")
    if entry.size > LARGEST_FILE:
        raise BadRow("huge-image", f"{store.uri_of(key)} has {entry.size:,} bytes; at most {LARGEST_FILE:,} are read")
    try:
        return store.read(key)
    except ObjectNotFound:
        raise BadRow("missing-image", f"{store.uri_of(key)} is gone since it was listed") from None


def lines_of(data: bytes) -> list[str]:
    r"""Lines of a caption file, ended by \n or \r\n alone: U+2028 and its like stay inside a caption.

    Raises BadRow where the text is not UTF-8.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadRow("wrong-encoding", f"line {line} of its captions is not UTF-8; {encoding_hint(data)}") from None
    return [line.removesuffix("\r") for line in text.split("\n")]


def encoding_hint(data: bytes) -> str:
    """How to convert a text that is not UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"
    return "save it as UTF-8 (from Windows or Latin-1: iconv -f CP1252 -t UTF-8)"


def fingerprint(entries: Iterable[tuple[str, Entry]]) -> str:
    """SHA-256 over URI, size and etag of everything that a source reads: equal as long as nothing there changes."""
    digest = hashlib.sha256()
    for folder, entry in entries:
        digest.update(json.dumps([folder, entry.key, entry.size, entry.etag]).encode() + b"\n")
    return digest.hexdigest()


def nothing_at(field: str, uri: str) -> DataInvalid:
    """The refusal of a URI below which nothing is stored."""
    return ObjectNotFound(f"{field}.uri: nothing is stored at {uri}: check the path, and that it was uploaded")
