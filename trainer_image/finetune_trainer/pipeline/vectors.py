"""Vectors in files: what `finetune encode` writes and `finetune search` reads. N vectors of width D.

A .npy has its ids in a .ids.json beside it, written last: the vectors are whole if it is there. A .parquet holds a
column `id` and a column `vector`, and says in the schema's metadata which model made them.
"""

import json
import os
import posixpath
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from finetune_sdk.api.base import Schema
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage.file_errors import translate_file_error
from finetune_trainer.data.places import Stores, nothing_at, parent_of
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.identity import config_digest

ENDINGS = (".npy", ".parquet")
METADATA = b"finetune"
"""The key of the Parquet schema's metadata."""
AGAIN = "make it again with finetune encode"


class Origin(Schema):
    """Of what vectors are, and which model made them."""

    version: Literal[1] = 1
    kind: Literal["pictures", "texts"]
    model: str
    pretrained: str
    weights_digest: str
    """Of the model's weights: equal models have equal ones, wherever they lie."""
    config_digest: str | None = None
    """Of its architecture, preprocessing and tokenizer. None in files from before it was written."""


def origin_of(model: ClipModel, kind: Literal["pictures", "texts"]) -> Origin:
    """What is written beside vectors that `model` made."""
    return Origin(
        kind=kind,
        model=model.name,
        pretrained=model.source,
        weights_digest=model.digest,
        config_digest=config_digest(model),
    )


class Ids(Origin):
    """The .ids.json beside a .npy."""

    ids: list[str]
    """The picture or text of each row, in order."""


@dataclass(frozen=True)
class Vectors:
    """Rows with their names."""

    origin: Origin
    ids: list[str]
    """N paths or texts."""
    rows: NDArray[np.float32]
    """(N, D), each of length 1."""


def ids_path(path: Path) -> Path:
    """vectors.ids.json for vectors.npy."""
    return path.with_suffix(".ids.json")


def write_vectors(vectors: Vectors, path: Path) -> None:
    """Write a .npy with its .ids.json, or a .parquet, whole or not at all.

    Raises StorageUnavailable for a full disk, StorageDenied for a place that cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".finetune-") as folder:
            made = Path(folder) / path.name
            if path.suffix.lower() == ".parquet":
                _write_parquet(vectors, made)
                made.replace(path)
                return
            with made.open("wb") as file:
                np.save(file, vectors.rows, allow_pickle=False)
            ids = Ids(**vectors.origin.model_dump(), ids=vectors.ids)
            ids_path(made).write_text(json.dumps(ids.model_dump(by_alias=True), indent=1) + "\n", encoding="utf-8")
            ids_path(path).unlink(missing_ok=True)  # never the new vectors with the old names
            made.replace(path)
            ids_path(made).replace(ids_path(path))
    except OSError as error:
        raise translate_file_error(error, os.fspath(path), writing=True) from error


def read_vectors(field: str, uri: str, stores: Stores) -> Vectors:
    """Read what `write_vectors` wrote. Nothing is unpickled.

    Raises ObjectNotFound, and DataInvalid for anything else.
    """
    place = parent_of(uri)
    store = stores(place.folder)
    if store.stat(place.key) is None:
        raise nothing_at(field, uri)
    data = store.read(place.key)
    name = posixpath.basename(place.key)
    if name.lower().endswith(".parquet"):
        origin, ids, rows = _read_parquet(field, data, name)
    else:
        beside = str(ids_path(Path(place.key)))
        if store.stat(beside) is None:
            raise DataInvalid(f"{field}: {name} lacks {posixpath.basename(beside)}, the names of its rows: {AGAIN}")
        origin, ids, rows = _read_npy(field, data, store.read(beside), name)
    if rows.dtype != np.float32 or rows.ndim != 2 or len(rows) != len(ids) or not np.isfinite(rows).all():
        raise DataInvalid(f"{field}: {name} does not hold a finite float32 vector for each of {len(ids)} ids: {AGAIN}")
    return Vectors(origin, ids, rows)


def _write_parquet(vectors: Vectors, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.rows.reshape(-1)), vectors.rows.shape[1])
    columns = pa.table({"id": pa.array(vectors.ids, pa.string()), "vector": rows})
    said = columns.replace_schema_metadata({METADATA: vectors.origin.model_dump_json(by_alias=True)})
    parquet.write_table(said, path, use_dictionary=False)


def _read_parquet(field: str, data: bytes, name: str) -> tuple[Origin, list[str], NDArray[Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        found = parquet.read_table(BytesIO(data))
        origin = Origin.model_validate_json((found.schema.metadata or {})[METADATA])
        vectors = found.column("vector").combine_chunks()
        rows = vectors.values.to_numpy().reshape(len(vectors), -1)
        return origin, [str(one) for one in found.column("id").to_pylist()], rows
    except (pa.ArrowException, OSError, ValidationError, KeyError, AttributeError, ValueError) as error:
        raise _no_vectors(field, name, error) from None


def _read_npy(field: str, data: bytes, beside: bytes, name: str) -> tuple[Origin, list[str], NDArray[Any]]:
    try:
        ids = Ids.model_validate_json(beside)
        return ids, ids.ids, np.load(BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _no_vectors(field, name, error) from None


def _no_vectors(field: str, name: str, error: Exception) -> DataInvalid:
    said = "nothing says which model made it" if isinstance(error, KeyError) else str(error).splitlines()[0].rstrip(".")
    return DataInvalid(f"{field}: {name} holds no vectors that finetune encode wrote ({said}): {AGAIN}")
