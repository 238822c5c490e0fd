"""Parquet: one file, several by a pattern, or a folder of them; pictures as paths, or inside as Hugging Face puts them.

Hugging Face's `image` is a struct of bytes and path. With bytes inside, files are streamed a few rows at a time, and
rows of one picture become one when the index sees that their pixels are equal.
"""

import operator
import posixpath
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO, Literal

from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Entry
from finetune_trainer.data.ahead import ahead
from finetune_trainer.data.fields import Fields, check_where, find_fields, notes_on, text_of
from finetune_trainer.data.files import files_of, split_of
from finetune_trainer.data.places import Place, fingerprint, in_order, list_places, resolve
from finetune_trainer.data.readers import Found, Reader, Rows, Source, Where, refuse_images
from finetune_trainer.data.said import Said, folder_of, join, named, row_alone, rows_of, say, wanted
from finetune_trainer.data.seekable import open_seekable
from finetune_trainer.data.types import BadRow, Row

ENDINGS = (".parquet", ".pq")
AT_ONCE = 64
"""Rows in memory, each perhaps a picture of some megabytes."""
PICTURE_FIELDS = ("image", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "img", "picture", "photo")
"""Usual names of columns that hold pictures themselves."""
PATH = ".path"
"""Of a picture that is bytes and path, the part that is its path."""
Held = Literal["bytes", "paths", "both"]
"""What a file holds of its pictures."""


def recognises(found: Found) -> bool:
    """A .parquet, a pattern of them, or a folder that holds some and neither shards nor another table."""
    if found.file is not None:
        return found.holds(*ENDINGS)
    top = [name for name in found.names if name.lower().endswith(ENDINGS)]
    plain = [name for name in top if not posixpath.basename(name).lower().startswith("metadata.")]
    return bool(plain) and not found.holds(".tar", ".csv", ".tsv", ".jsonl")


def open_rows(source: Source) -> Rows:
    """Read the files' footers, and what is no picture where pictures are paths. Raises ObjectNotFound, DataInvalid."""
    files = files_of(source, ENDINGS, ".parquet")
    where = Where(source.spec.where)
    subject = posixpath.basename(files[0].key)
    names, inside = columns_of(source, files[0])
    fields = _fields(source, names, inside, subject)
    check_where(source, list(names), fields, subject, split=any(split_of(file.key) for file in files))
    if "split" not in names and "split" not in fields:
        files = _of_split(files, where)
    notes = notes_on(source, fields, subject)
    held = _held(source, files, fields["image"])
    if all(one == "paths" for one in held):
        lines = (said for file in files for said in says(source, file, fields, where))
        return rows_of(source, join(lines), files, where, notes, fields)
    if all(one == "bytes" for one in held):
        refuse_images(source)
    folder = folder_of(source)

    def read() -> Iterator[Row]:
        for file in files:
            for said in says(source, file, fields, where):
                yield row_alone(source, said, folder)

    mixed = [file for file, one in zip(files, held, strict=True) if one != "bytes"]
    beside = list_places(_named_in(source, mixed, fields), source.stores)
    own = [(source.store.uri, file) for file in files]
    return Rows(read, None, fingerprint([*own, *in_order(beside)]), where, notes, dict(named(fields)))


def says(source: Source, file: Entry, fields: Fields, where: Where, *, paths_alone: bool = False) -> Iterator[Said]:
    """What each row says, in order; its columns besides the roles' are read only where the filter needs them.

    `paths_alone`: of a picture only its path, and no captions. Raises DataInvalid for a file that is broken or lacks a
    column.
    """
    name, place_split = posixpath.basename(file.key), split_of(file.key)
    roles = {name for role, name in fields.items() if role in ("split", "group") or not paths_alone}
    columns = {*roles, *where.wanted, *([fields["image"] + PATH] if paths_alone else [])}
    for number, values in enumerate(_values(source, file, fields, columns), start=1):
        if wanted(values, fields, where, place_split):
            said = say(f"{name}:{number}", values, fields)
            said.split = place_split if said.split is None else said.split
            yield said


def splits_in(source: Source, column: str | None) -> Counter[str | None]:
    """How many rows, or files where no column tells, each split has. Nothing but that column is read.

    Raises ObjectNotFound, DataInvalid.
    """
    met: Counter[str | None] = Counter()
    for file in files_of(source, ENDINGS, ".parquet"):
        place_split = split_of(file.key)
        if column is None:
            met[place_split] += 1
            continue
        for values in _values(source, file, {"split": column}, [column]):
            split = text_of(values[column])
            met[place_split if split is None else split] += 1
    return met


def _values(source: Source, file: Entry, fields: Fields, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file, of each its `columns` as far as it has them; 'image.path' is a part of one, or that whole."""
    import pyarrow as pa

    number = 0
    with open_seekable(source.store, file) as opened:
        try:
            parquet = _open(opened)
            names = parquet.schema_arrow.names
            if lacking := [field for field in fields.values() if field not in names]:
                raise DataInvalid(
                    f"{source.field}: {source.store.uri_of(file.key)} has no column {lacking[0]!r}, as the first file "
                    f"has; it has {', '.join(names)}"
                )
            known = {*names, *(parquet.schema.column(index).path for index in range(len(parquet.schema)))}
            chosen = [column if column in known else column.removesuffix(PATH) for column in columns]
            chosen = [column for column in chosen if column in known]
            for batch in parquet.iter_batches(batch_size=AT_ONCE, columns=chosen, use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield values
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _broken(source, file, error, number) from None


def _of_split(files: list[Entry], where: Where) -> list[Entry]:
    """Those whose names tell the split that is wanted; all where none does: the filter then tells which there are."""
    if "split" not in where.wanted:
        return files
    return [file for file in files if split_of(file.key) == where.wanted["split"]] or files


def _held(source: Source, files: list[Entry], column: str) -> list[Held]:
    """What each file holds of its pictures, by its footer alone: a picture's path counts only without its bytes."""
    import pyarrow as pa

    def of_file(file: Entry) -> Held:
        with open_seekable(source.store, file) as opened:
            try:
                parquet = _open(opened)
            except (pa.ArrowException, OSError) as error:
                raise _broken(source, file, error, 0) from None
        kinds = {field.name: _kind(field.type) for field in parquet.schema_arrow}
        if kinds.get(column) == "text":
            return "paths"
        groups = [parquet.metadata.row_group(index) for index in range(parquet.metadata.num_row_groups)]
        parts = [[group.column(index) for index in range(group.num_columns)] for group in groups]
        if not all(any(part.path_in_schema == column + PATH for part in group) for group in parts):
            return "bytes"
        chunks = [part for group in parts for part in group if part.path_in_schema == f"{column}.bytes"]
        nulls = [chunk.statistics.null_count if _counts_nulls(chunk) else None for chunk in chunks]
        if all(count == 0 for count in nulls):
            return "bytes"
        return "paths" if all(map(operator.eq, nulls, (chunk.num_values for chunk in chunks))) else "both"

    return list(ahead(of_file, files))


def _counts_nulls(chunk: Any) -> bool:
    return bool(chunk.is_stats_set and chunk.statistics.has_null_count)


def _named_in(source: Source, files: list[Entry], fields: Fields) -> Iterator[Place]:
    """Where pictures of `files` lie if their bytes are not inside; of the others too, as only paths are read."""
    folder, where = folder_of(source), Where(source.spec.where)  # its own: what a filter meets is counted once
    for file in files:
        for said in says(source, file, fields, where, paths_alone=True):
            with suppress(BadRow):
                if said.problem is None:
                    yield resolve(folder, said.cell)


def columns_of(source: Source, file: Entry) -> tuple[dict[str, str], list[str]]:
    """The columns with what they hold ('text', 'texts', 'bytes', 'picture', 'number' or Arrow's name), and the names of
    those that hold pictures. Raises DataInvalid for what is no Parquet."""
    import pyarrow as pa

    with open_seekable(source.store, file) as opened:
        try:
            schema = _open(opened).schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise _broken(source, file, error, 0) from None
    kinds = {field.name: _kind(field.type) for field in schema}
    return kinds, [name for name, kind in kinds.items() if kind in ("bytes", "picture")]


def _open(opened: BinaryIO) -> Any:
    from pyarrow import parquet

    return parquet.ParquetFile(opened)


def _fields(source: Source, names: Mapping[str, str], inside: list[str], subject: str) -> Fields:
    """As any table's; but of a column of paths and one of pictures, the pictures are taken."""
    chosen = _pictures_column(inside)
    if source.spec.columns.image is None and chosen is not None:
        columns = source.spec.columns.model_copy(update={"image": chosen})
        source = replace(source, spec=source.spec.model_copy(update={"columns": columns}))
    fields = find_fields(source, list(names), subject)
    for role, usable in (("image", ("text", "bytes", "picture")), ("caption", ("text", "texts"))):
        column = fields[role]  # type: ignore[index]
        if names[column] not in usable:
            raise DataInvalid(
                f"{source.called(f'columns.{role}')}: column {column!r} of {subject} holds {names[column]}, not "
                f"{'paths or pictures' if role == 'image' else 'texts'}; columns are "
                + ", ".join(f"{name} ({kind})" for name, kind in names.items())
            )
    return fields


def _pictures_column(inside: list[str]) -> str | None:
    """The only column that holds pictures, or of several the one with the most usual name."""
    known = {name.lower(): name for name in inside}
    usual = next((known[name] for name in PICTURE_FIELDS if name in known), None)
    return inside[0] if len(inside) == 1 else usual


def _kind(kind: Any) -> str:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _kind(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return "bytes"
    if types.is_struct(kind) and "bytes" in {kind.field(index).name for index in range(kind.num_fields)}:
        return "picture"
    if types.is_list(kind) or types.is_large_list(kind):
        return "texts" if _kind(kind.value_type) == "text" else str(kind)
    return str(kind)


def _broken(source: Source, file: Entry, error: Exception, number: int) -> DataInvalid:
    after = f" after row {number}" if number else ""
    said = str(error).splitlines()[0].rstrip(". ") if str(error) else type(error).__name__
    return DataInvalid(
        f"{source.field}: {source.store.uri_of(file.key)} is no Parquet file, or is broken{after} ({said}): "
        "write or upload it again"
    )


READER = Reader(("parquet",), "Parquet files with pictures inside or paths, and captions", recognises, open_rows)
