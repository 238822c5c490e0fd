"""Which checkpoints a store holds, and reading the latest whole one."""

import hashlib
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from finetune_sdk.errors import ObjectNotFound, WeightsInvalid
from finetune_sdk.storage import Store
from finetune_trainer.checkpoint.manifest import (
    MANIFEST,
    ROOT,
    STATE,
    Manifest,
    Part,
    checkpoint_key,
    parse_key,
    parse_manifest,
)
from finetune_trainer.checkpoint.snapshot import Snapshot

SUFFIX = ".safetensors"
_CHUNK = 1 << 20
_UNFINISHED = "it was not finished"


class _Damaged(Exception):
    """A checkpoint whose manifest is there but whose objects do not agree; says how."""


@dataclass(frozen=True)
class Found:
    """What lies in the folder of one step."""

    step: int
    keys: tuple[str, ...]
    manifest: Manifest | None
    problem: str | None
    """Why it is not whole, as far as sizes show; None: it is."""

    @property
    def whole(self) -> bool:
        """Whether a run may go on from it."""
        return self.problem is None


def find_checkpoints(store: Store) -> list[Found]:
    """All checkpoints and what is left of broken ones, oldest first. Reads listings and manifests only."""
    sizes: dict[int, dict[str, int]] = defaultdict(dict)
    for entry in store.list(ROOT):
        if place := parse_key(entry.key):
            sizes[place[0]][place[1]] = entry.size
    return [_look(store, step, sizes[step]) for step in sorted(sizes)]


def _look(store: Store, step: int, sizes: dict[str, int]) -> Found:
    keys = tuple(checkpoint_key(step, name) for name in sizes)
    if MANIFEST not in sizes:
        return Found(step, keys, None, _UNFINISHED)
    try:
        manifest = parse_manifest(store.read(checkpoint_key(step, MANIFEST)), step)
    except ObjectNotFound:
        return Found(step, keys, None, "it is being removed")
    if manifest is None:
        return Found(step, keys, None, f"its {MANIFEST} cannot be read")
    wrong = [name for name, part in manifest.parts.items() if sizes.get(name) != part.size]
    return Found(step, keys, manifest, f"{wrong[0]} is missing or has another size" if wrong else None)


def load_latest(store: Store, scratch: Path, note: Callable[[str], None]) -> Snapshot | None:
    """The latest checkpoint whose objects all agree with its manifest; None where there is none.

    Damaged ones are passed over, each with a note. Files pass through the folder `scratch`.
    """
    for found in reversed(find_checkpoints(store)):
        problem = found.problem
        if found.manifest is not None and problem is None:
            try:
                return _load(store, found.manifest, scratch)
            except _Damaged as damage:
                problem = str(damage)
        if problem != _UNFINISHED:  # a kill leaves such: nothing to tell
            note(f"the checkpoint {store.uri_of(f'{ROOT}step-{found.step}')} is passed over: {problem}")
    return None


def load_weights(store: Store, step: int, scratch: Path) -> dict[str, Tensor]:
    """The weights of one checkpoint, in host memory. Raises WeightsInvalid where it is not whole."""
    found = next((found for found in find_checkpoints(store) if found.step == step), None)
    if found is None or found.manifest is None:
        raise WeightsInvalid(f"{store.uri_of(f'{ROOT}step-{step}')} holds no whole checkpoint: run the training again")
    name = f"weights{SUFFIX}"
    try:
        return _tensors(store, step, name, found.manifest.parts[name], scratch)
    except _Damaged as damage:
        where = store.uri_of(f"{ROOT}step-{step}")
        raise WeightsInvalid(f"{where} is damaged ({damage}): delete it and run the training again") from damage


def _load(store: Store, manifest: Manifest, scratch: Path) -> Snapshot:
    tensors = {
        name.removesuffix(SUFFIX): _tensors(store, manifest.step, name, part, scratch)
        for name, part in manifest.parts.items()
        if name.endswith(SUFFIX)
    }
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / STATE
        _fetch(store, checkpoint_key(manifest.step, STATE), manifest.parts[STATE], path)
        return Snapshot(manifest.step, tensors, path.read_bytes())


def _tensors(store: Store, step: int, name: str, part: Part, scratch: Path) -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / name
        _fetch(store, checkpoint_key(step, name), part, path)
        try:
            return load_file(path)
        except SafetensorError as error:
            raise _Damaged(f"{name} cannot be read: {error}") from error


def _fetch(store: Store, key: str, part: Part, path: Path) -> None:
    """Copy an object to a local file, and compare it with the manifest."""
    name = key.rpartition("/")[2]
    try:
        with store.open(key) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
    except ObjectNotFound as error:
        raise _Damaged(f"{name} is missing") from error
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != part.sha256:
            raise _Damaged(f"{name} has another SHA-256 than {MANIFEST} says")
