"""Where pictures and tables lie: URIs, the stores that open them, and what a listing of them says."""

import hashlib
import json
import posixpath
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from finetune_sdk.errors import DataInvalid, InvalidSpec, ObjectNotFound
from finetune_sdk.storage import Entry, Store, check_bucket, check_key
from finetune_sdk.uri import path_to_uri, uri_to_path
from finetune_trainer.data.ahead import ahead
from finetune_trainer.data.types import BadRow

Stores = Callable[[str], Store]
"""Opens the store of everything below a URI."""
LARGEST_FILE = 256 << 20
"""Bytes of one encoded picture that are still read into memory."""
PAGE = 1000
"""Keys that a bucket's listing gives for one request."""
SPARED = 16
"""Requests that are rather made than a page listed more: eight go out at once, and a folder may hold much else."""
SPARED_AT_A_ROOT = 1000
"""More of them that are made before a whole bucket is listed."""
LONGEST_KEY = 1024
"""Bytes of an object's key in a bucket; a server refuses to look for a longer one."""
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

    Raises BadRow for an address that is not read (http, gs, ...), and where it can be no file's name.
    """
    scheme, separator, _ = cell.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        raise BadRow("image-url", f"{cell} is a web address; {FETCH_HINT}")
    if separator and scheme not in ("file", "s3"):
        raise BadRow("image-url", f"{cell}: only paths, file:// and s3:// are read; copy the pictures there")
    if cell.startswith("data:"):
        raise BadRow("image-url", f"{cell[:40]}... is a data URI: write the picture to a file and name that")
    place = _from_the_root(cell) if separator else _from_folder(base, cell)
    try:
        check_key(place.key, place.folder)
    except DataInvalid as error:
        raise BadRow("missing-image", str(error)) from None
    return place


def _from_folder(base: str, cell: str) -> Place:
    if "\0" in cell or not (name := posixpath.normpath(cell)) or name in (".", "..", "/"):
        raise BadRow("missing-image", f"{cell!r} names no file")
    if name.startswith("/"):
        return Place("file:///", name.lstrip("/"))
    while name.startswith("../"):
        name, base = name[3:], parent_of(base).folder
    return Place(base, name)


def _from_the_root(uri: str) -> Place:
    """A URI's place below its bucket or the file system: what lies near each other is then looked up together."""
    if uri.startswith("file://"):
        try:
            path = posixpath.normpath(uri_to_path(uri))
        except InvalidSpec as error:
            raise BadRow("missing-image", str(error)) from None
        if path.strip("/"):
            return Place("file:///", path.lstrip("/"))
        raise BadRow("missing-image", f"{uri!r} names no file")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise BadRow("missing-image", f"{uri!r} names no object")
    try:
        check_bucket(bucket)
    except InvalidSpec as error:
        shown = "" if "@" in bucket else f"{uri}: "  # before an @ may stand keys
        raise BadRow("missing-image", f"{shown}{error}") from None
    return Place(f"s3://{bucket}", key)


def list_places(places: Iterable[Place], stores: Stores) -> dict[Place, Entry]:
    """Size and etag of each of `places` that exists; folders that hold none of them are not looked into.

    In a bucket a folder that holds many is listed, and what lies apart is asked for one by one. A file system is asked
    for each, which its listing does as well.
    """
    found: dict[Place, Entry] = {}
    by_folder: dict[str, dict[str, None]] = {}
    for place in places:
        by_folder.setdefault(place.folder, {})[place.key] = None
    for folder, keys in by_folder.items():
        store = stores(folder)
        is_local = folder.startswith("file://")
        entries = filter(None, (_entry(store, key) for key in keys)) if is_local else _in_bucket(store, keys)
        found |= {Place(folder, entry.key): entry for entry in entries}
    return found


def in_order(found: Mapping[Place, Entry]) -> list[tuple[str, Entry]]:
    """What `list_places` found, as `fingerprint` takes it: the same whatever order it was found in."""
    return sorted(((place.folder, entry) for place, entry in found.items()), key=lambda item: (item[0], item[1].key))


@dataclass
class _Plan:
    """How what is named below one folder of a bucket is looked up."""

    named: int = 0
    requests: int = 0
    """That it takes at least."""
    folders: list[str] = field(default_factory=list)
    """Those that are listed, with all below them."""
    keys: list[str] = field(default_factory=list)
    """What is asked for one by one."""

    def add(self, other: "_Plan") -> None:
        self.named += other.named
        self.requests += other.requests
        self.folders += other.folders
        self.keys += other.keys

    def settled(self, folder: str, spared: int = 0) -> "_Plan":
        """This plan, or to list the whole `folder` where that saves many requests; `spared` more are no matter."""
        pages = -(-self.named // PAGE)
        return self if self.requests <= SPARED * pages + spared else _Plan(self.named, pages, [folder])


def _in_bucket(store: Store, keys: Collection[str]) -> Iterator[Entry]:
    above = store.uri.removeprefix("s3://").partition("/")[2]
    left = LONGEST_KEY - len(f"{above}/".encode()) if above else LONGEST_KEY
    plan = _plan((key for key in keys if len(key.encode()) <= left), is_whole_bucket=not above)

    def listed(folder: str) -> list[Entry]:
        return [entry for entry in store.list(f"{folder}/" if folder else "") if entry.key in keys]

    for entries in ahead(listed, plan.folders):
        yield from entries
    yield from filter(None, ahead(partial(_entry, store), plan.keys))


def _plan(keys: Iterable[str], *, is_whole_bucket: bool) -> _Plan:
    """From the deepest folders up: each is looked up by its parts, or listed where its parts take too many requests."""
    by_depth: defaultdict[int, dict[str, _Plan]] = defaultdict(dict)
    by_depth[0][""] = _Plan()
    for key in keys:
        own = by_depth[key.count("/")].setdefault(posixpath.dirname(key), _Plan())
        own.keys.append(key)
        own.named = own.requests = len(own.keys)
    for depth in range(max(by_depth), 0, -1):
        for folder, plan in by_depth[depth].items():
            above = by_depth[depth - 1].setdefault(posixpath.dirname(folder), _Plan())
            above.add(plan.settled(folder))
    return by_depth[0][""].settled("", SPARED_AT_A_ROOT if is_whole_bucket else 0)


def _entry(store: Store, key: str) -> Entry | None:
    """What lies there. None also where it, or a folder above it, has a longer name than the file system's have."""
    try:
        return store.stat(key)
    except ObjectNotFound:
        return None


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
