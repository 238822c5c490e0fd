"""DocArray's DocumentArray, which Finetuner's users have: JSON of both its protocols, and protobuf, never pickle.

A document is a picture (uri, blob or tensor) with its caption (text, or a tag such as `caption`), or holds both as
chunks, as Finetuner asks for with CLIP. Files of DocArray 0.30 and later (DocList) have other fields and are refused.
"""

import base64
import posixpath
from collections.abc import Iterator
from typing import Any

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data import docarray_wire as wire
from finetune_trainer.data.docarray_tensor import encode_tensor
from finetune_trainer.data.fields import captions_of, text_of
from finetune_trainer.data.files import document_of, stat
from finetune_trainer.data.readers import (
    CAPTION_FIELDS,
    PICTURES,
    Found,
    Reader,
    Rows,
    Source,
    Where,
    find_name,
    refuse_columns,
)
from finetune_trainer.data.said import Said, join, rows_of
from finetune_trainer.data.types import BadRow

ENDINGS = (".docarray", ".da", ".bin", ".protobuf", ".protobuf-array", ".pickle", ".pickle-array", ".pkl")
KNOWN_KEYS = {"chunks", "modality", "mime_type", "mimeType", "blob", "tensor"}
"""Any of them, beside an id, tells a document from other objects."""
NEWER = (
    "it is a DocList of DocArray 0.30 or later, and only DocumentArray (up to 0.21) is read: write JSON Lines with "
    "image and caption"
)


def recognises(found: Found) -> bool:
    """A .json that is a list of documents, or a file that begins as DocArray's binaries do."""
    if found.file is None:
        return False
    if found.holds(".json"):
        try:
            document = found.document()
        except (ValueError, RecursionError):
            return False
        return isinstance(document, list) and bool(document) and _is_document(document[0])
    name = posixpath.splitext(found.file.lower())[0] if found.holds(*wire.COMPRESSIONS) else found.file.lower()
    return name.endswith(ENDINGS)


def open_rows(source: Source) -> Rows:
    """Read the file whole. Raises ObjectNotFound, and DataInvalid for pickle, a newer format, or a file that is cut."""
    if not source.key:
        raise DataInvalid(f"{source.field}.uri: {source.spec.uri} must name the DocumentArray's file, not a folder")
    refuse_columns(source, "docarray", "image")
    entry = stat(source, source.key)
    name = posixpath.basename(source.key)
    documents = _of_json(source, name) if source.key.lower().endswith(".json") else _of_binary(source, name)
    where = Where(source.spec.where)
    said = join(_says(documents, source, where, name))
    return rows_of(source, said, [entry], where)


def _of_json(source: Source, name: str) -> list[dict[str, Any]]:
    documents = document_of(source)
    if not isinstance(documents, list) or not all(isinstance(one, dict) for one in documents):
        raise DataInvalid(f"{source.field}: {name} is no DocumentArray: it must be a list of documents")
    return documents


def _of_binary(source: Source, name: str) -> list[dict[str, Any]]:
    try:
        return wire.documents_of(source.store.read(source.key))
    except wire.Pickled:
        raise DataInvalid(
            f"{source.field}: {name} is pickled, and a pickle runs whatever code its author put in it. Where you trust "
            f"it, load it with DocArray and write it again: da.save_binary('data.protobuf', protocol='protobuf')"
        ) from None
    except wire.Newer:
        raise DataInvalid(f"{source.field}: {name}: {NEWER}") from None
    except wire.Broken as error:
        raise DataInvalid(
            f"{source.field}: {name} is no DocumentArray, or is cut ({error}): write it again with "
            "da.save_binary('data.protobuf', protocol='protobuf')"
        ) from None


def _says(documents: list[dict[str, Any]], source: Source, where: Where, name: str) -> Iterator[Said]:
    keys = source.spec.columns
    for index, one in enumerate(documents):
        said = Said(f"{name}[{index}]", "")
        try:
            picture, texts, tags = _parts(one)
            if not where.matches(lambda column, tags=tags: text_of(tags.get(column))):  # type: ignore[misc]
                continue
            said.split, said.group = text_of(tags.get(keys.split or "split")), text_of(tags.get(keys.group or "group"))
            said.captions = texts or _captions_of_tags(tags, keys.caption)
            said.cell = text_of(picture.get("uri")) or ""
            said.data = _bytes(picture)
            if said.data is None and not said.cell:
                raise BadRow("missing-image", "its picture has neither uri nor blob nor tensor")
        except BadRow as problem:
            said.problem = problem
        yield said


def _parts(document: dict[str, Any]) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    """The part that is the picture, the captions, and the tags of both. Raises BadRow unless there is one picture."""
    parts = _list(document.get("chunks")) or [document]
    pictures = [part for part in parts if _is_picture(part)]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str) and part["text"]]
    if len(pictures) != 1:
        held = "no picture" if not pictures else f"{len(pictures)} pictures"
        kind = "missing-image" if not pictures else "bad-row"
        raise BadRow(kind, f"the document holds {held}: it must be a picture, or have chunks of one picture and texts")
    tags: dict[str, Any] = {}
    for part in (pictures[0], document):
        tags |= part["tags"] if isinstance(part.get("tags"), dict) else {}
    return pictures[0], texts, tags


def _is_picture(part: dict[str, Any]) -> bool:
    if part.get("modality"):
        return bool(part["modality"] == "image")
    mime = str(part.get("mime_type") or part.get("mimeType") or "")
    if mime:
        return mime.startswith("image/")
    uri = part.get("uri")
    return bool(part.get("blob") or part.get("tensor")) or (isinstance(uri, str) and uri.lower().endswith(PICTURES))


def _captions_of_tags(tags: dict[str, Any], wanted: str | None) -> list[str]:
    key = wanted if wanted is not None else find_name(list(tags), CAPTION_FIELDS)
    if key is None or key not in tags:
        held = ", ".join(tags) or "none"
        raise BadRow("no-caption", f"it has no text, and its tags are {held}: name the caption's in columns.caption")
    return captions_of(tags[key], f"tag {key}")


def _bytes(picture: dict[str, Any]) -> bytes | None:
    """The encoded picture that the document itself holds, if it does."""
    blob = picture.get("blob")
    if isinstance(blob, bytes) and blob:
        return blob
    if isinstance(blob, str) and blob:
        try:
            return base64.b64decode(blob, validate=True)
        except ValueError as error:  # binascii.Error among them
            raise BadRow("bad-row", f"its blob is no base64: {error}") from None
    tensor = picture.get("tensor")
    return encode_tensor(tensor) if tensor is not None else None


def _is_document(one: object) -> bool:
    return isinstance(one, dict) and "id" in one and bool(KNOWN_KEYS & one.keys())


def _list(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


READER = Reader(("docarray",), "a DocumentArray as JSON or protobuf", recognises, open_rows)
