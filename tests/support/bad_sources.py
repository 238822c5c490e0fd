"""Sources that no run can read, one a function: in the formats beside tables of text."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tests.support import picture_formats as more
from tests.support.all_formats import Write
from tests.support.pictures import Picture

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "docarray"
FIRST = "pictures/picture-00000.jpg"


def file(name: str, content: str | bytes) -> Write:
    """The data is this one file."""

    def write(folder: Path, _pictures: list[Picture]) -> Path:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder / name

    return write


def document(name: str, content: object) -> Write:
    return file(name, json.dumps(content))


def changed(write: Write, change: Callable[[bytes], bytes]) -> Write:
    """A sound file of another writer, its bytes changed."""

    def changing(folder: Path, pictures: list[Picture]) -> Path:
        path = write(folder, pictures)
        path.write_bytes(change(path.read_bytes()))
        return path

    return changing


def columns(kinds: dict[str, Any]) -> Write:
    """A Parquet file of these columns."""

    def write(folder: Path, _pictures: list[Picture]) -> Path:
        parquet.write_table(pa.table(kinds), folder / "a.parquet")
        return folder / "a.parquet"

    return write


def another_file(kinds: dict[str, Any]) -> Write:
    """A folder of Parquet files, of which the second is unlike the first."""

    def write(folder: Path, pictures: list[Picture]) -> Path:
        more.write_parquet(folder / "set", pictures, files=1)
        parquet.write_table(pa.table(kinds), folder / "set" / "z.parquet")
        return folder / "set"

    return write


def sample(name: str) -> Write:
    def write(folder: Path, _pictures: list[Picture]) -> Path:
        shutil.copyfile(SAMPLES / name, folder / name)
        return folder / name

    return write


def a_document(**values: object) -> Write:
    """A DocumentArray of one document."""
    return document("a.json", [{"id": "1", "modality": None, **values}])


def metadata(text: str) -> Write:
    def write(folder: Path, pictures: list[Picture]) -> Path:
        more.write_metadata(folder / "set", pictures, "csv")
        (folder / "set" / "metadata.csv").write_text(text)
        return folder / "set"

    return write


def deep(folder: Path, _pictures: list[Picture]) -> Path:
    """Chunks within chunks, a thousand deep."""
    message = b""
    for _ in range(1000):
        message = more.field(14, message)
    (folder / "a.protobuf").write_bytes(b"\x01" + (1).to_bytes(8, "big") + len(message).to_bytes(4, "big") + message)
    return folder / "a.protobuf"


def notes(folder: Path, _pictures: list[Picture]) -> Path:
    (folder / "set").mkdir()
    (folder / "set" / "notes.md").write_text("nothing")
    return folder / "set"


def jsonl(folder: Path, pictures: list[Picture]) -> Path:
    return more.write_jsonl(folder / "a.jsonl", pictures)


def coco(folder: Path, pictures: list[Picture]) -> Path:
    return more.write_coco(folder / "a.json", pictures)


def docarray(folder: Path, pictures: list[Picture]) -> Path:
    return more.write_docarray(folder / "a.protobuf", pictures)


def one_parquet(folder: Path, pictures: list[Picture]) -> Path:
    return more.write_parquet(folder / "set", pictures, files=1) / "part-00000-of-00001.parquet"


def line(**values: object) -> Write:
    return file("a.jsonl", json.dumps({"image": FIRST, "caption": "x", **values}))
