"""Which column or key holds what: as the spec names it, else by usual names; and what a value means there."""

import ast
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.places import FETCH_HINT
from finetune_trainer.data.readers import CAPTION_FIELDS, Source, find_name, missing_field
from finetune_trainer.data.types import BadRow

IMAGE_FIELDS = ("image", "file_path", "image_path", "file_name", "image_name", "image_file", "file", "path", "img")
SPLIT_FIELDS = ("split", "subset", "fold", "partition")
GROUP_FIELDS = ("group", "group_id")
ADDRESS_FIELDS = ("url", "image_url", "link", "img_url")
"""Names of columns that hold web addresses in place of pictures, as LAION's and Conceptual Captions' tables."""

Role = Literal["image", "caption", "split", "group"]
Fields = Mapping[Role, str]
"""The name of the column or key of each role; split and group may be absent."""
USUAL: tuple[tuple[Role, tuple[str, ...]], ...] = (
    ("image", IMAGE_FIELDS),
    ("caption", CAPTION_FIELDS),
    ("split", SPLIT_FIELDS),
    ("group", GROUP_FIELDS),
)


def find_fields(source: Source, names: Sequence[str], subject: str) -> Fields:
    """The name of each role among `names`, which `subject` ('captions.csv') has.

    Raises DataInvalid, naming those there are.
    """
    found: dict[Role, str] = {}
    for role, usual in USUAL:
        wanted = getattr(source.spec.columns, role)
        if wanted is not None and wanted not in names:
            raise missing_field(source, f"columns.{role}", wanted, list(names), subject)
        column = wanted if wanted is not None else find_name(list(names), usual)
        if column is not None:
            check_once(source.field, names, column, subject)
            found[role] = column
    for role in ("image", "caption"):
        if role not in found:
            raise _lacking(source, role, names, subject)
    return found


def check_where(source: Source, names: Sequence[str], fields: Fields, subject: str, *, split: bool = False) -> None:
    """Raise DataInvalid for a filter by a column that is not there. `split`: files' places name splits."""
    for column in source.spec.where:
        named = column == "split" and (split or "split" in fields)
        if column not in names and not named and not (column == "group" and "group" in fields):
            raise missing_field(source, "where", column, list(names), subject)
        check_once(source.field, names, column, subject)


def check_once(field: str, names: Sequence[str], column: str, subject: str) -> None:
    """Raise DataInvalid for a column that is there several times: all but one would be dropped."""
    if (count := names.count(column)) > 1:
        raise DataInvalid(
            f"{field}: {subject} has {count} columns named {column!r}: give each a name of its own, and each of "
            "several captions a row"
        )


def notes_on(source: Source, fields: Fields, subject: str) -> tuple[str, ...]:
    """What was understood that the names do not say, and a split that nobody asked for."""
    roles: tuple[Role, ...] = ("image", "caption")
    said = [f"{role} from column {fields[role]!r}" for role in roles if fields[role] != role]
    is_split_here = source.field == "data.source"
    said += ["rows of one group stay together"] if "group" in fields and is_split_here else []
    notes = [f"{source.field}: {subject}: {', '.join(said)}"] if said else []
    if is_split_here and "split" in fields and source.spec.columns.split is None:
        column = fields["split"]
        notes.append(
            f"{source.field}: {subject} has a column {column!r}, and pictures are split by hash all the same: "
            f"set {source.field}.columns.split to {column} to follow it"
        )
    return tuple(notes)


def value_of(values: Mapping[str, object], fields: Fields, name: str) -> str | None:
    """What a filter compares: the column of that name, or for split and group the column of that role."""
    if name in values:
        return text_of(values[name])
    role: Role | None = "split" if name == "split" else "group" if name == "group" else None
    return of_role(values, fields, role) if role else None


def of_role(values: Mapping[str, object], fields: Fields, role: Role) -> str | None:
    """The value that plays a role; None where no column does. A column may be named '', as pandas leaves its index."""
    return text_of(values.get(fields[role])) if role in fields else None


def text_of(value: object) -> str | None:
    """A value as splits, groups and filters see it; None where it is none of text, number and truth."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def captions_of(value: object, name: str) -> list[str]:
    """One caption or several; none where the value is missing. Raises BadRow for anything that is no text."""
    if isinstance(value, str):
        return _in_cell(value, name)
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    if not all(isinstance(item, str) for item in values):
        kind = next(type(item).__name__ for item in values if not isinstance(item, str))
        raise BadRow("bad-row", f"{name} must be a text or a list of texts, and holds {kind} {str(values)[:40]}")
    return list(values)


def _in_cell(text: str, name: str) -> list[str]:
    """The captions of a cell: one, or those of a list that was written as text, by JSON or by Python's `str`."""
    shown = text.strip()
    if shown[:2] not in ('["', "['") or shown[-2:] not in ('"]', "']"):
        return [text]
    for read, write in ((json.loads, None), (ast.literal_eval, repr)):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = read(shown)
            # Of numpy's ['a' 'b'] Python would join the parts to one text.
            if all(isinstance(one, str) for one in found) and (write is None or write(found) == shown):
                return list(found)
    detail = f"{name} holds a list that cannot be read, {shown[:40]}: write it as JSON, or a row for each caption"
    raise BadRow("bad-row", detail)


def _lacking(source: Source, role: str, names: Sequence[str], subject: str) -> DataInvalid:
    known = f"{subject} has no column that is known to hold the {role}; its columns are {', '.join(names)}"
    address = find_name(list(names), ADDRESS_FIELDS)
    if role == "image" and address is not None:
        return DataInvalid(f"{known}. If {address} holds web addresses: {FETCH_HINT}")
    if source.is_of_a_run:
        return DataInvalid(f"{known}: name one in {source.called(f'columns.{role}')}")
    return DataInvalid(f"{known}: rename one to {role}, or name it in columns.{role} of a run's file")
