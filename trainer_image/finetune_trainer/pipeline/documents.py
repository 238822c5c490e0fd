"""Reading and writing the typed documents of `records` in a Store."""

from typing import TypeVar

from pydantic import ValidationError

from finetune_sdk.api.base import Schema
from finetune_sdk.errors import ObjectNotFound, OutputInUse
from finetune_sdk.storage import Store

Document = TypeVar("Document", bound=Schema)


def write_document(store: Store, key: str, document: Schema) -> None:
    """Store `document` as indented JSON that ends in a newline."""
    store.write(key, encode(document))


def encode(document: Schema) -> bytes:
    """The document's bytes as they are stored."""
    return document.model_dump_json(by_alias=True, indent=2, exclude_none=True).encode() + b"\n"


def read_document(store: Store, key: str, kind: type[Document]) -> Document | None:
    """The document, or None where there is none.

    Raises:
        OutputInUse: something is there that this version does not know.
    """
    try:
        data = store.read(key)
    except ObjectNotFound:
        return None
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        detail = f"{where}: {problem['msg']}" if where else problem["msg"]
        raise OutputInUse(f"{store.uri_of(key)} {_why(problem['type'], detail)}") from None


def _why(kind: str, detail: str) -> str:
    if kind == "json_invalid":
        return f"is no whole document ({detail}): bring it back, or use another output.uri"
    return (
        f"was not written by this version of finetune ({detail}): use another output.uri, or the version that wrote it"
    )
