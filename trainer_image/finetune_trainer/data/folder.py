"""A folder of pictures with their captions beside them: cat.jpg and cat.txt, a caption a line, or a metadata file."""

import posixpath
from collections.abc import Iterator

from finetune_sdk.storage import Entry
from finetune_trainer.data import metadata
from finetune_trainer.data.ahead import ahead
from finetune_trainer.data.places import fingerprint, lines_of, read_picture
from finetune_trainer.data.readers import (
    PICTURES,
    Found,
    Reader,
    Rows,
    Source,
    Where,
    is_beside_the_point,
    natural,
    refuse_columns,
    refuse_images,
    unusable,
)
from finetune_trainer.data.types import BadRow, Row


def recognises(found: Found) -> bool:
    """Pictures with texts of their names beside them, or with metadata, no shards."""
    if found.file is not None or found.holds(".tar", ".tar.gz", ".tgz"):
        return False
    return found.holds(*PICTURES) and (found.has_texts_beside or any(map(metadata.is_metadata, found.names)))


def open_rows(source: Source) -> Rows:
    """Read its metadata, else pair what shares a name, in natural order (2.jpg before 10.jpg)."""
    where = Where(source.spec.where)
    entries = sorted(source.entries(), key=lambda entry: natural(entry.key))
    if any(metadata.is_metadata(entry.key) for entry in entries):
        return metadata.open_rows(source, entries)
    refuse_images(source)
    refuse_columns(source, "folder", "image", "caption", "group")
    texts = {_stem(entry.key): entry for entry in entries if entry.key.lower().endswith(".txt")}
    pictures = [entry for entry in entries if entry.key.lower().endswith(PICTURES)]
    pictures = [entry for entry in pictures if _wanted(entry, where)]
    stems = {_stem(entry.key) for entry in entries if entry.key.lower().endswith(PICTURES)}
    orphans = [text for stem, text in texts.items() if stem not in stems and _wanted(text, where)]
    orphans = [text for text in orphans if not is_beside_the_point(text.key)]

    def read() -> Iterator[Row]:
        yield from ahead(lambda entry: _row(source, entry, texts.get(_stem(entry.key))), pictures)
        for text in orphans:
            yield unusable(text.key, text.key, "missing-image", "no picture of this name lies beside it")

    used = pictures + [texts[stem] for stem in sorted({_stem(entry.key) for entry in pictures} & set(texts))] + orphans
    total = len(pictures) + len(orphans)
    return Rows(read, total, fingerprint((source.store.uri, entry) for entry in used), where)


def _row(source: Source, picture: Entry, text: Entry | None) -> Row:
    if text is None:
        beside = posixpath.basename(_stem(picture.key)) + ".txt"
        return unusable(picture.key, picture.key, "no-caption", f"no {beside} lies beside it")
    try:
        captions = lines_of(source.store.read(text.key))
    except BadRow as problem:
        return unusable(text.key, picture.key, problem.kind, problem.detail)
    while len(captions) > 1 and not captions[-1].strip():  # the end of the last line, and empty lines after it
        captions.pop()

    def load() -> bytes:
        return read_picture(source.store, picture.key, picture)

    return Row(picture.key, picture.key, tuple(captions), load, split=_split(picture.key))


def _wanted(entry: Entry, where: Where) -> bool:
    return where.matches(lambda name: _split(entry.key) if name == "split" else None)


def _split(key: str) -> str | None:
    """The folder below the source that a picture lies in: 'train' of train/cats/1.jpg."""
    head, slash, _ = key.partition("/")
    return head if slash else None


def _stem(key: str) -> str:
    return posixpath.splitext(key)[0]


READER = Reader(
    ("folder",), "pictures with captions beside them, cat.jpg and cat.txt, or metadata.csv", recognises, open_rows
)
