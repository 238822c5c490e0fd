"""webdataset shards: pictures and captions as neighbours in tar files, also in the layout of CLIP Benchmark.

A sample is the members that share a name up to the first dot of its last part (webdataset's rule): 0001.jpg with
0001.txt, a caption a line, or with 0001.json, which has `caption` or `captions`. Shards are streamed,
nothing is unpacked.
"""

import json
import posixpath
import re
import tarfile
import zlib
from collections.abc import Container, Iterator
from typing import Any, BinaryIO, Self

from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Entry
from finetune_trainer.data.files import named, stat
from finetune_trainer.data.places import LARGEST_FILE, fingerprint, lines_of
from finetune_trainer.data.readers import (
    CAPTION_FIELDS,
    PICTURES,
    Found,
    Reader,
    Rows,
    Source,
    Where,
    find_name,
    natural,
    refuse_columns,
    refuse_images,
    unusable,
)
from finetune_trainer.data.types import BadRow, Row

SHARDS = (".tar", ".tar.gz", ".tgz")
LARGEST_TEXT = 1 << 20
"""Bytes of a sample's captions or metadata."""
COUNT_FILE = "nshards.txt"
"""CLIP Benchmark's: how many shards, 0.tar and on, a split has."""
SAMPLE_NAME = re.compile(r"((?:.*/)?[^./][^.]*)\.([^/]*)", re.DOTALL)


class _Member(tarfile.TarInfo):
    """A member whose broken header is an error: tarfile itself takes any after the first for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}, and no end mark") from None


def recognises(found: Found) -> bool:
    """A tar, a pattern of tars, or a folder that holds some and no table."""
    return found.holds(*SHARDS) and not (found.file is None and found.holds(".csv", ".tsv"))


def open_rows(source: Source) -> Rows:
    """Find the shards in their order: as the pattern counts, as nshards.txt says, or naturally by name.

    Raises ObjectNotFound where there is none, DataInvalid where a numbered one is missing.
    """
    refuse_images(source)
    refuse_columns(source, "webdataset", "image")
    where = Where(source.spec.where)
    shards = _shards(source)
    if "split" in where.wanted and any(_split(shard.key) for shard in shards):
        folders = {_split(shard.key) for shard in shards}
        if where.wanted["split"] in folders:
            shards = [shard for shard in shards if _split(shard.key) == where.wanted["split"]]

    def read() -> Iterator[Row]:
        for shard in shards:
            yield from _read_shard(source, shard, where)

    return Rows(read, None, fingerprint((source.store.uri, shard) for shard in shards), where)


def _shards(source: Source) -> list[Entry]:
    if source.key:
        return [stat(source, key) for key in named(source)]
    entries = {entry.key: entry for entry in source.entries()}
    shards = [entry for key, entry in entries.items() if key.lower().endswith(SHARDS)]
    folders = sorted({posixpath.dirname(shard.key) for shard in shards}, key=natural)
    ordered: list[Entry] = []
    for folder in folders:
        inside = sorted((s for s in shards if posixpath.dirname(s.key) == folder), key=lambda s: natural(s.key))
        count = posixpath.join(folder, COUNT_FILE)
        ordered += _counted(source, folder, count, entries) if count in entries else inside
    if not ordered:
        raise DataInvalid(f"{source.field}.uri: {source.spec.uri} holds no .tar")
    return ordered


def _counted(source: Source, folder: str, count: str, entries: dict[str, Entry]) -> list[Entry]:
    text = source.store.read(count).decode("utf-8", "replace").strip()
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise DataInvalid(f"{source.store.uri_of(count)} must hold the number of shards, not {text[:40]!r}")
    keys = [posixpath.join(folder, f"{number}.tar") for number in range(int(text))]
    if lacking := [key for key in keys if key not in entries]:
        raise DataInvalid(f"{source.store.uri_of(count)} counts {text} shards, and {lacking[0]} is not there")
    return [entries[key] for key in keys]


def _read_shard(source: Source, shard: Entry, where: Where) -> Iterator[Row]:
    sample: dict[str, bytes | BadRow] = {}
    name, last = "", "its beginning"
    before: set[str] = set()
    try:
        with source.store.open(shard.key) as stream, _open_tar(stream) as tar:
            for member in tar:
                last = member.name
                if member.isdir():
                    continue
                if reason := _unsafe(member):
                    yield unusable(f"{shard.key}:{member.name}", member.name, "unsafe-member", reason)
                    continue
                if (match := SAMPLE_NAME.fullmatch(member.name)) is None:  # hidden, as macOS' ._0001.jpg
                    continue
                stem, ending = match.groups()
                if stem != name:
                    yield from _row(source, shard, name, sample, where, before)
                    before.add(name)
                    name, sample = stem, {}
                if _of_use(ending.lower()):
                    sample[ending.lower()] = _content(tar, member)
            yield from _row(source, shard, name, sample, where, before)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataInvalid(
            f"{source.field}: {source.store.uri_of(shard.key)} is broken after {last} ({error}): upload it again"
        ) from None


def _open_tar(stream: BinaryIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Member)


def _unsafe(member: tarfile.TarInfo) -> str | None:
    """Why a member is refused. Nothing is unpacked; but who names such members did not mean to give pictures."""
    if not member.isreg():
        return "it is a link or a device, not a file"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "its name leaves the archive's folder"
    return None


def _of_use(ending: str) -> bool:
    return f".{ending}" in PICTURES or ending in ("txt", "json")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | BadRow:
    is_picture = not member.name.lower().endswith((".txt", ".json"))
    limit = LARGEST_FILE if is_picture else LARGEST_TEXT
    if member.size > limit:
        kind = "huge-image" if is_picture else "bad-row"
        return BadRow(kind, f"{member.name} has {member.size:,} bytes; at most {limit:,} are read")
    file = tar.extractfile(member)
    return file.read() if file is not None else b""


def _row(
    source: Source,
    shard: Entry,
    name: str,
    sample: dict[str, bytes | BadRow],
    where: Where,
    before: Container[str],
) -> Iterator[Row]:
    """The row of a sample, none where it is filtered out or nothing of it is of use.

    `before`: names of the samples before it, of which a part that comes later is told.
    """
    if not sample:
        return
    place = f"{shard.key}:{name}"
    try:
        texts = {ending: _bytes(data) for ending, data in sample.items() if ending in ("txt", "json")}
        metadata = _metadata(texts.get("json"))
        captions = _captions(source, texts.get("txt"), metadata)
    except BadRow as problem:
        yield unusable(place, name, problem.kind, problem.detail)
        return
    split = _text(metadata, source.spec.columns.split or "split") or _split(shard.key)
    if not where.matches(lambda key: split if key == "split" else _text(metadata, key)):
        return
    ending = next((ending for ending in sample if f".{ending}" in PICTURES), None)
    if name in before and (ending is None or not captions):
        detail = f"{', '.join(sample)} of a sample lies apart from the rest of it"
        yield unusable(place, name, "scattered-sample", detail)
        return
    if ending is None:
        held = ", ".join(sample)
        yield unusable(place, name, "missing-image", f"the sample holds {held} and no picture")
        return
    data = sample[ending]
    group = _text(metadata, source.spec.columns.group or "group")
    yield Row(f"{place}.{ending}", f"{name}.{ending}", captions, lambda: _bytes(data), split, group)


def _bytes(data: bytes | BadRow) -> bytes:
    if isinstance(data, BadRow):
        raise data
    return data


def _metadata(data: bytes | None) -> dict[str, Any]:
    if data is None:
        return {}
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRow("bad-row", f"its .json cannot be read: {error}") from None
    return metadata if isinstance(metadata, dict) else {}


def _captions(source: Source, text: bytes | None, metadata: dict[str, Any]) -> tuple[str, ...]:
    """Of the .txt, a caption a line; without one, or where the spec names the key, of the .json."""
    wanted = source.spec.columns.caption
    key = wanted if wanted in metadata else find_name(metadata, CAPTION_FIELDS)
    if text is not None and (wanted is None or wanted not in metadata):
        lines = lines_of(text)
        while len(lines) > 1 and not lines[-1].strip():
            lines.pop()
        return tuple(lines)
    value = metadata.get(key) if key is not None else None
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(item, str) for item in values):
        raise BadRow("bad-row", f"{key} of its .json is neither a text nor a list of texts")
    return tuple(values)


def _text(metadata: dict[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _split(key: str) -> str | None:
    """CLIP Benchmark keeps the shards of a split in a folder of its name."""
    head, slash, _ = key.partition("/")
    return head if slash else None


READER = Reader(("webdataset",), "tar shards: one, a folder of them, or shard-{000..012}.tar", recognises, open_rows)
