"""Flickr8k's and Flickr30k's own text files: token files, and the table with bars that goes round with Flickr30k.

    1000268201.jpg#0<TAB>A child in a pink dress .          Flickr8k.token.txt, results_20130124.token
    1000092795.jpg| 0| Two young guys with shaggy hair .    results.csv, whose first line names the columns

Flickr8k's lists of splits (Flickr_8k.trainImages.txt and so on) are followed where they lie beside the token file.
"""

import posixpath
import re
from collections.abc import Callable, Iterator

from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Entry
from finetune_trainer.data.files import stat
from finetune_trainer.data.places import lines_of
from finetune_trainer.data.readers import Found, Reader, Rows, Source, Where, refuse_columns
from finetune_trainer.data.said import Said, join, rows_of
from finetune_trainer.data.types import BadRow

TOKEN = re.compile(r"([^\t]+)#([0-9]+)\t(.*)", re.DOTALL)
BAR = re.compile(r"([^|]+?)\s*\|\s*([0-9]+)\s*(?:\|\s*|\s+)(.*)", re.DOTALL)
"""One line of the published results.csv lacks its second bar."""
BAR_HEADER = re.compile(r"image(?:_name)?\s*\|\s*comment_number\s*\|\s*comment\s*")
LISTS = {
    "Flickr_8k.trainImages.txt": "train",
    "Flickr_8k.devImages.txt": "validation",
    "Flickr_8k.testImages.txt": "test",
}
"""The lists in Flickr8k_text.zip, and their splits."""

Parser = Callable[[str], "re.Match[str] | None"]


def recognises(found: Found) -> bool:
    """A text file whose first line is one of theirs."""
    if found.file is None or not found.holds(".txt", ".token", ".csv"):
        return False
    first = _text(found.head().split(b"\n", 1)[0])
    return bool(BAR_HEADER.fullmatch(first) or (TOKEN.fullmatch(first) and not found.holds(".csv")))


def open_rows(source: Source) -> Rows:
    """Read the file and the lists beside it. Raises ObjectNotFound, and DataInvalid where it is no such file."""
    if not source.key:
        raise DataInvalid(f"{source.field}.uri: {source.spec.uri} must name the token file, not a folder")
    refuse_columns(source, "flickr", "image", "caption", "group")
    entry = stat(source, source.key)
    name = posixpath.basename(source.key)
    data = source.store.read(source.key)
    lines = _lines(data)
    has_header = bool(lines) and BAR_HEADER.fullmatch(lines[0][1]) is not None
    parse: Parser = BAR.fullmatch if has_header else TOKEN.fullmatch
    lists, splits = _splits(source)
    where = Where(source.spec.where)
    said = join(_says(lines[has_header:], name, parse, splits, where))
    if unknown := sorted(set(source.spec.where) - {"split"}):
        raise DataInvalid(f"{source.called('where')}: {name} has no column {unknown[0]!r}; it has split")
    if "split" in source.spec.where and not lists:
        raise DataInvalid(
            f"{source.called('where')}: {name} names no splits, and no lists such as Flickr_8k.trainImages.txt lie "
            "beside it: put them there, or take Karpathy's dataset_flickr8k.json or dataset_flickr30k.json"
        )
    notes = (f"{source.field}: {name}: splits from {', '.join(entry.key for entry in lists)}",) if lists else ()
    return rows_of(source, said, [entry, *lists], where, notes)


def _says(
    lines: list[tuple[int, str]], name: str, parse: Parser, splits: dict[str, str], where: Where
) -> Iterator[Said]:
    for number, line in lines:
        at = f"{name}:{number}"
        if any("\udc80" <= char <= "\udcff" for char in line):
            yield Said(at, "", problem=BadRow("wrong-encoding", "it is not UTF-8; save it as UTF-8"))
            continue
        found = parse(line)
        if found is None:
            shape = "image.jpg#0<TAB>caption" if parse == TOKEN.fullmatch else "image.jpg| 0| caption"
            yield Said(at, line[:40], problem=BadRow("bad-row", f"it is not {shape}: {line[:60]!r}"))
            continue
        image, _, caption = found.groups()
        split = splits.get(posixpath.basename(image.strip()))
        if where.matches(lambda key, split=split: split if key == "split" else None):  # type: ignore[misc]
            yield Said(at, image.strip(), [caption], split)


def _splits(source: Source) -> tuple[list[Entry], dict[str, str]]:
    """The lists beside the file, and the split of each picture that they name."""
    folder = posixpath.dirname(source.key)
    lists: list[Entry] = []
    splits: dict[str, str] = {}
    for name, split in LISTS.items():
        if (entry := source.store.stat(posixpath.join(folder, name))) is not None:
            lists.append(entry)
            splits |= {line.strip(): split for line in lines_of(source.store.read(entry.key)) if line.strip()}
    return lists, splits


def _lines(data: bytes) -> list[tuple[int, str]]:
    r"""Numbered lines that say something, ended by \n or \r\n alone."""
    lines = enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
    return [(number, text) for number, line in lines if (text := _text(line)).strip()]


def _text(line: bytes) -> str:
    return line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").removesuffix("\r")


READER = Reader(("flickr",), "Flickr8k's and Flickr30k's token files: image.jpg#0<TAB>caption", recognises, open_rows)
