"""What was read of a source, on local disk: its index beside its pixels, in a folder for what it is and how it stands.

A folder's name says what is asked for (the spec, the model's input) and, after a dash, how the source stood (size and
etag of every object read). So a second run reads no picture, a changed source is seen, and what was kept of it before
it changed is removed once the new state is there: a set that is mended row by row takes its room once.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from finetune_sdk.api.data import DataSource
from finetune_trainer.cache_error import cache_error
from finetune_trainer.data.decode import FORMATS, MOST_PIXELS
from finetune_trainer.data.index import Index
from finetune_trainer.data.jpeg import QUALITY
from finetune_trainer.data.room import Parts
from finetune_trainer.data.stored import PixelsUnusable, StoredPixels, open_pixels
from finetune_trainer.data.types import Form, Image, Split
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.records import Problem

VERSION = 3
"""Of what is cached; a change of anything that decides it counts one up."""
INDEX = "index.json"
FORMS: tuple[Form, ...] = ("raw", "jpeg")


@dataclass(frozen=True)
class Prepared:
    """A source's index with its pixels."""

    index: Index
    pixels: StoredPixels
    cache_bytes: int

    def split(self, name: str, indices: Sequence[int] | None = None) -> Split:
        """All images, or those at `indices`."""
        if indices is None:
            return Split(name, self.index.images, self.pixels)
        return Split(name, tuple(self.index.images[i] for i in indices), self.pixels.subset(indices))


def folders_of(
    cache_root: Path, spec: DataSource, preprocess: Preprocess, parts: Parts, fingerprint: str
) -> Mapping[Form, Path]:
    """Where each form of a source is kept."""
    asked = {form: _asked(spec, preprocess, parts, form) for form in FORMS}
    return {form: cache_root / "data" / f"{asked[form][:24]}-{fingerprint[:16]}" for form in FORMS}


def keep(index: Index, pixels: StoredPixels, folder: Path) -> Prepared:
    """Write the index after its `pixels`, which it names, so no kill leaves two that do not fit."""
    body = {
        "version": VERSION,
        "pixels": pixels.digest,
        "images": [asdict(image) for image in index.images],
        "rows_read": index.rows_read,
        "problems": [problem.model_dump() for problem in index.problems],
        "kinds": index.kinds,
        "oddities": index.oddities,
    }
    _write_whole(folder / INDEX, json.dumps(body).encode())
    _remove_earlier(folder)
    return Prepared(index, pixels, _bytes_below(folder))


def from_cache(folder: Path, preprocess: Preprocess) -> Prepared | None:
    """What an earlier run left whole, else None."""
    try:
        pixels = open_pixels(folder, preprocess)
        body = json.loads((folder / INDEX).read_bytes())
        if body["version"] != VERSION or body["pixels"] != pixels.digest or not body["rows_read"]:
            return None
        images = tuple(Image(**{**image, "captions": tuple(image["captions"])}) for image in body["images"])
        problems = tuple(Problem(**problem) for problem in body["problems"])
        index = Index(images, body["rows_read"], problems, body["kinds"], body["oddities"])
    except (PixelsUnusable, OSError, ValueError, KeyError, TypeError):
        return None
    return Prepared(index, pixels, _bytes_below(folder))


def _asked(spec: DataSource, preprocess: Preprocess, parts: Parts, form: Form) -> str:
    asked = {
        "version": VERSION,
        "spec": spec.model_dump(),
        "preprocess": asdict(preprocess),
        "parts": asdict(parts),
        "form": [form, QUALITY] if form == "jpeg" else [form],
        "limits": [MOST_PIXELS, *FORMATS],
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _remove_earlier(folder: Path) -> None:
    """Remove what was kept of the same source as it stood before, unless a process still reads it."""
    asked = folder.name.partition("-")[0]
    for other in folder.parent.glob(f"{asked}-*"):
        if other != folder and not _is_used(other):
            shutil.rmtree(other, ignore_errors=True)


def _is_used(folder: Path) -> bool:
    """Whether a process writes or reads pixels there, each of which holds a lock on its file, or is about to."""
    paths = list(folder.glob("pixels-*"))
    try:
        for path in paths:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked, renamed just now, or somebody else's
        return True
    return not paths


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file of the cache so that it is there whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".index-", delete=False) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(path)
    except OSError as error:
        raise cache_error(error, path.parent) from error


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
