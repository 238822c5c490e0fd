"""Karpathy's JSON of Flickr8k, Flickr30k and COCO (dataset_*.json): pictures with their sentences and splits.

`restval`, what was left over from COCO's validation set, is train, as in everybody's figures.
"""

import posixpath
from collections.abc import Iterator
from typing import Any

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.fields import text_of
from finetune_trainer.data.files import document_of, stat
from finetune_trainer.data.readers import Found, Reader, Rows, Source, Where
from finetune_trainer.data.said import Said, rows_of
from finetune_trainer.data.types import BadRow

LEFT_OVER = "restval"


def recognises(found: Found) -> bool:
    """A .json whose images have sentences."""
    return found.json_with("images") and _has_sentences(found.document()["images"])


def open_rows(source: Source) -> Rows:
    """The pictures in the file's order. Raises ObjectNotFound, and DataInvalid for other JSON."""
    document = document_of(source)
    name = posixpath.basename(source.key)
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, list) or not _has_sentences(images):
        raise DataInvalid(
            f"{source.field}: {name} is no Karpathy file: those have images, each with filename, split and sentences"
        )
    where = Where(source.spec.where)
    said = list(_says(images, source, where, name))
    return rows_of(source, said, [stat(source, source.key)], where)


def _says(images: list[Any], source: Source, where: Where, name: str) -> Iterator[Said]:
    keys = source.spec.columns
    for index, one in enumerate(images):
        at = f"{name}:images[{index}]"
        if not isinstance(one, dict):
            yield Said(at, "", problem=BadRow("bad-row", f"it is no object: {str(one)[:40]}"))
            continue
        split = text_of(one.get(keys.split or "split"))
        split = "train" if split == LEFT_OVER else split

        def value(column: str, one: dict[str, Any] = one, split: str | None = split) -> str | None:
            return split if column == "split" else text_of(one.get(column))

        if not where.matches(value):
            continue
        try:
            path = _path(one, keys.image or "filename")
            captions = _captions(one.get("sentences"), keys.caption or "raw")
        except BadRow as problem:
            yield Said(at, "", problem=problem)
            continue
        yield Said(at, path, captions, split, text_of(one.get(keys.group or "group")))


def _path(one: dict[str, Any], key: str) -> str:
    """COCO's filenames count from `filepath` (train2014, val2014); Flickr's have none."""
    name, folder = one.get(key), one.get("filepath")
    if not (isinstance(name, str) and name.strip()):
        raise BadRow("missing-image", f"it has no {key}")
    return posixpath.join(folder, name.strip()) if isinstance(folder, str) and folder else name.strip()


def _captions(sentences: object, key: str) -> list[str]:
    if not isinstance(sentences, list):
        raise BadRow("no-caption", "it has no list of sentences")
    captions = [one.get(key) if isinstance(one, dict) else None for one in sentences]
    texts = [caption for caption in captions if isinstance(caption, str)]
    if len(texts) < len(captions):
        raise BadRow("bad-row", f"sentence {captions.index(None) + 1 if None in captions else 1} has no text {key!r}")
    return texts


def _has_sentences(images: object) -> bool:
    return isinstance(images, list) and any(isinstance(one, dict) and "sentences" in one for one in images)


READER = Reader(("karpathy",), "Karpathy's dataset_*.json of Flickr8k, Flickr30k and COCO", recognises, open_rows)
