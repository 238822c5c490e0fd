"""A checkpoint's manifest: written last, so that a checkpoint exists if and only if its manifest does and agrees."""

import hashlib
import re
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from finetune_sdk.api.base import Schema

ROOT = "checkpoints/"
MANIFEST = "manifest.json"
STATE = "state.json"
_STEP = re.compile(r"checkpoints/step-(\d+)/(.+)")


class Part(Schema):
    """One object of a checkpoint."""

    size: int
    """Bytes."""
    sha256: str


class Manifest(Schema):
    """manifest.json."""

    version: Literal[1] = 1
    step: int
    parts: dict[str, Part]
    """By name beside the manifest."""


def checkpoint_key(step: int, name: str) -> str:
    """The key of a checkpoint's object."""
    return f"{ROOT}step-{step}/{name}"


def parse_key(key: str) -> tuple[int, str] | None:
    """Step and name of a checkpoint's object; None for another object."""
    found = _STEP.fullmatch(key)
    return (int(found[1]), found[2]) if found else None


def parse_manifest(data: bytes, step: int) -> Manifest | None:
    """The manifest of a step; None where the bytes are no such thing."""
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError:
        return None
    return manifest if manifest.step == step else None


def part_of_bytes(data: bytes) -> Part:
    """Describe an object that is in memory."""
    return Part(size=len(data), sha256=hashlib.sha256(data).hexdigest())


def part_of_file(path: Path) -> Part:
    """Describe an object that is a local file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return Part(size=path.stat().st_size, sha256=digest.hexdigest())
