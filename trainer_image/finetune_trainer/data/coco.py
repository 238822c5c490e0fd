"""COCO captions: one JSON with `images` (id, file_name) and `annotations` (image_id, caption)."""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.fields import text_of
from finetune_trainer.data.files import document_of, stat
from finetune_trainer.data.readers import Found, Reader, Rows, Source, Where, refuse_columns
from finetune_trainer.data.said import Said, rows_of
from finetune_trainer.data.types import BadRow


def recognises(found: Found) -> bool:
    """A .json with images and annotations."""
    return found.json_with("images", "annotations")


def open_rows(source: Source) -> Rows:
    """Join captions to their pictures, in the file's order. Raises ObjectNotFound, and DataInvalid for other JSON."""
    document = document_of(source)
    name = posixpath.basename(source.key)
    images, annotations = (_list(source, document, key, name) for key in ("images", "annotations"))
    if annotations and not any(isinstance(one, dict) and "caption" in one for one in annotations):
        known = ", ".join(annotations[0]) if isinstance(annotations[0], dict) else "no objects"
        raise DataInvalid(
            f"{source.field}: {name} has annotations without captions (they have {known}): give COCO's captions_*.json"
        )
    refuse_columns(source, "coco", "caption")
    where = Where(source.spec.where)
    said = list(_says(images, annotations, source, where, name))
    return rows_of(source, said, [stat(source, source.key)], where)


def _says(images: list[Any], annotations: list[Any], source: Source, where: Where, name: str) -> Iterator[Said]:
    captions: dict[str, list[str]] = {}
    for index, one in enumerate(annotations):
        if not (isinstance(one, dict) and isinstance(one.get("caption"), str)):
            detail = "it must be an object with image_id and a caption that is a text"
            yield Said(f"{name}:annotations[{index}]", "", problem=BadRow("bad-row", detail))
            continue
        captions.setdefault(_key(one.get("image_id")), []).append(one["caption"])
    keys = source.spec.columns
    for index, one in enumerate(images):
        at = f"{name}:images[{index}]"
        path = one.get(keys.image or "file_name") if isinstance(one, dict) else None
        if not (isinstance(path, str) and path.strip()):
            detail = f"it has no {keys.image or 'file_name'}"
            yield Said(at, "", problem=BadRow("missing-image", detail))
            continue
        own = captions.pop(_key(one.get("id")), [])
        if not where.matches(lambda column, one=one: text_of(one.get(column))):  # type: ignore[misc]
            continue
        split, group = text_of(one.get(keys.split or "split")), text_of(one.get(keys.group or "group"))
        yield Said(at, path.strip(), own, split, group)
    for image_id, left in captions.items():
        detail = f"{len(left)} captions belong to image_id {image_id}, which is not among the images"
        yield Said(f"{name}:image_id {image_id}", "", problem=BadRow("missing-image", detail))


def _list(source: Source, document: object, key: str, name: str) -> list[Any]:
    value = document.get(key) if isinstance(document, Mapping) else None
    if not isinstance(value, list):
        raise DataInvalid(
            f"{source.field}: {name} is no COCO captions file: it has no list {key!r}; those have images, each with id "
            "and file_name, and annotations, each with image_id and caption"
        )
    return value


def _key(value: object) -> str:
    """Ids are compared as texts: some tools write 7 for the picture and "7" for its captions."""
    return text_of(value) or repr(value)


READER = Reader(("coco",), "COCO's captions_*.json", recognises, open_rows)
