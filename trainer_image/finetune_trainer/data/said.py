"""What a file says of pictures, and how that becomes rows: lines of one picture joined, its place looked up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from finetune_sdk.storage import Entry
from finetune_trainer.data.fields import Fields, captions_of, of_role, value_of
from finetune_trainer.data.places import (
    LARGEST_FILE,
    Place,
    fingerprint,
    in_order,
    list_places,
    parent_of,
    read_picture,
    resolve,
)
from finetune_trainer.data.readers import Rows, Source, Where, refuse_images, unusable
from finetune_trainer.data.types import BadRow, Row, check_text


@dataclass
class Said:
    """What a line, or an entry of a document, says of one picture."""

    where: str
    """'captions.csv:17'."""
    cell: str
    """The picture's path, or its name where `data` holds it."""
    captions: list[str] = field(default_factory=list)
    split: str | None = None
    group: str | None = None
    data: bytes | None = None
    """The encoded picture, where the file itself holds it."""
    folder: str | None = None
    """The URI that `cell` counts from; None: `data.*.images`, or the folder of the file."""
    problem: BadRow | None = None
    """Why it cannot be used at all."""


def say(where: str, values: Mapping[str, object], fields: Fields) -> Said:
    """A line of a table or an object of JSON. Never raises: what is wrong stands in `problem`."""
    image = values.get(fields["image"])
    path: object = image.get("path") if isinstance(image, dict) else image
    data: object = image.get("bytes") if isinstance(image, dict) else image if isinstance(image, bytes) else None
    cell = path.strip() if isinstance(path, str) else ""
    said = Said(where, cell)
    said.split, said.group = of_role(values, fields, "split"), of_role(values, fields, "group") or None
    try:
        if isinstance(data, bytes):
            said.data, said.cell = data, cell or where
        elif not cell:
            raise BadRow("missing-image", _no_picture(image))
        said.captions = captions_of(values.get(fields["caption"]), fields["caption"])
    except BadRow as problem:
        said.problem = problem
    return said


def wanted(values: Mapping[str, object], fields: Fields, where: Where, place_split: str | None = None) -> bool:
    """Whether a filter lets a line through; `place_split`: the split that its file's place names."""

    def value(name: str) -> str | None:
        known = value_of(values, fields, name)
        return place_split if known is None and name == "split" else known

    return where.matches(value)


def join(lines: Iterable[Said]) -> list[Said]:
    """One for each picture, split and group, in the order of the first; the bad and those with bytes stand alone."""
    joined: dict[object, Said] = {}
    for number, said in enumerate(lines):
        if said.problem is not None or said.data is not None:
            joined[number] = said
            continue
        first = joined.setdefault((said.folder, said.cell, said.split, said.group), said)
        if first is not said:
            first.captions = [*first.captions, *said.captions]
    return list(joined.values())


def rows_of(
    source: Source,
    said: Sequence[Said],
    files: Iterable[Entry],
    where: Where,
    notes: tuple[str, ...] = (),
    fields: Fields | None = None,
) -> Rows:
    """Rows of what was said, pictures looked up by few listings. `files`: all that was read for it."""
    usable = [one for one in said if one.problem is None]
    if usable and not any(map(_is_counted, usable)):
        refuse_images(source)
    base = folder_of(source)
    places = [_place(base, one) for one in said]
    known = list_places([place for place in places if isinstance(place, Place)], source.stores)

    def read() -> Iterator[Row]:
        for one, place in zip(said, places, strict=True):
            yield _row(source, one, place, known)

    own = [(source.store.uri, entry) for entry in files]
    return Rows(read, len(said), fingerprint([*own, *in_order(known)]), where, notes, dict(named(fields or {})))


def named(fields: Fields) -> Iterator[tuple[str, str]]:
    """Roles and names, for those who only show them."""
    yield from fields.items()


def row_alone(source: Source, said: Said, folder: str) -> Row:
    """The row of one that was not looked up by a listing: its picture's size is asked for when it is read."""
    place = _place(folder, said)
    known = list_places([place], source.stores) if isinstance(place, Place) else {}
    return _row(source, said, place, known)


def folder_of(source: Source) -> str:
    """What paths count from: `images`, else the folder of the file, else the folder that was named."""
    return source.spec.images or (parent_of(source.store.uri_of(source.key)).folder if source.key else source.store.uri)


def _row(source: Source, said: Said, place: Place | BadRow | None, known: Mapping[Place, Entry]) -> Row:
    if isinstance(place, BadRow):
        return unusable(said.where, printable(said.cell), place.kind, place.detail)

    def load() -> bytes:
        if said.data is not None:
            return _checked(said.data)
        assert place is not None  # noqa: S101 - told to the type checker: without data there is a place
        return read_picture(source.stores(place.folder), place.key, known.get(place))

    return Row(said.where, said.cell, tuple(said.captions), load, said.split, said.group)


def _place(base: str, said: Said) -> Place | BadRow | None:
    """Where its picture lies; None where the file itself holds it."""
    if said.problem is not None:
        return said.problem
    if said.data is not None:
        return None
    try:
        check_text(said.cell, "path")
        return resolve(said.folder or base, said.cell)
    except BadRow as problem:
        return problem


def _is_counted(said: Said) -> bool:
    """Whether its picture's path counts from a folder."""
    return said.data is None and "://" not in said.cell and not said.cell.startswith("/")


def _checked(data: bytes) -> bytes:
    if len(data) > LARGEST_FILE:
        raise BadRow("huge-image", f"it has {len(data):,} bytes; at most {LARGEST_FILE:,} are read")
    return data


def _no_picture(image: object) -> str:
    if image is None or image == "":
        return "its picture's cell is empty"
    if isinstance(image, dict):
        return "its picture has neither bytes nor a path"
    return f"its picture must be a path or bytes, and is {type(image).__name__} {str(image)[:40]!r}"


def printable(cell: str) -> str:
    """`cell` without what is no UTF-8."""
    return cell.encode("utf-8", "replace").decode()
