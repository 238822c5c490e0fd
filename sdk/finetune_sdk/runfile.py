"""A run's file: read as YAML 1.2, strictly, with every mistake told at once.

Reading takes four steps: the text to values with lines, relative paths to file:// URIs, values to models field by
field, then the rules across fields and what is not supported yet. A part that is wrong is set aside, so that the rest
is looked at too; rules that read a part set aside keep silent.
"""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from finetune_sdk import spec_paths
from finetune_sdk.api.rules import broken_rules
from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.api.support import Mistake, unsupported
from finetune_sdk.api.types import RULES_LATER, UriMark
from finetune_sdk.errors import InvalidSpec, UsageError
from finetune_sdk.mistakes import in_words, nearest_key
from finetune_sdk.strict_yaml import Node, YamlMistake, read_yaml
from finetune_sdk.uri import path_to_uri

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_PASSES = 8
"""A part set aside may uncover the next mistake below its stand-in; levels of the spec bound how often."""

Keys = spec_paths.Path


class RunFileInvalid(InvalidSpec):
    """A run's file with mistakes; the message holds each on a line."""

    def __init__(self, name: str, mistakes: list[Mistake]) -> None:
        self.name = name
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = (f"{name}:{mistake.line}  {mistake}" for mistake in mistakes)
        super().__init__("\n".join((f"{name}: {count}", *lines)))


def load_run(path: Path, *, home: Path | None = None) -> FinetuneRun:
    """The run in the file at `path`. Relative paths in it count from its folder, `~` from `home` (None: the user's).

    Raises RunFileInvalid (an InvalidSpec) with every mistake, UsageError where the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist: give the run's file with -f") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): give the run's file with -f") from error
    return parse_run(data, name=str(path), folder=path.absolute().parent, home=home)


def parse_run(data: bytes, *, name: str, folder: Path, home: Path | None = None) -> FinetuneRun:
    """The run in `data`; `name` is how messages call it, `folder` (absolute) what relative paths count from.

    Raises RunFileInvalid (an InvalidSpec) with every mistake.
    """
    try:
        root = read_yaml(data)
    except YamlMistake as mistake:
        raise RunFileInvalid(name, [Mistake("", None, str(mistake), mistake.line)]) from mistake
    if not isinstance(root.value, dict):
        told = "must hold a mapping with apiVersion, kind, metadata and spec"
        raise RunFileInvalid(name, [Mistake("", root.plain(), told, root.line)])
    reader = _Reader(root)
    run = reader.run(folder, home or Path.home())
    if reader.mistakes or run is None:
        raise RunFileInvalid(name, sorted(reader.mistakes, key=lambda mistake: mistake.line or 0))
    return run


class _Reader:
    """Collects the mistakes of one file while its document is mended far enough to look on."""

    def __init__(self, root: Node) -> None:
        self.mistakes: list[Mistake] = []
        self._root = root
        self._document = root.plain()
        self._aside: set[Keys] = set()
        """Paths that are already told of; what depends on them is not told again."""

    def run(self, folder: Path, home: Path) -> FinetuneRun | None:
        """The run, if the fields could be read; `mistakes` says whether it may be used."""
        self._document.pop("status", None)  # as Kubernetes does: status is not the user's to write
        resolve_paths(self._document, folder, home)
        run = self._fields()
        if run is not None:
            self._rules(run.spec, ("spec",))
            self._unsupported(run)
        return run

    def _fields(self) -> FinetuneRun | None:
        for _ in range(_PASSES):
            try:
                return FinetuneRun.model_validate(self._document, context=RULES_LATER, by_alias=True, by_name=False)
            except ValidationError as invalid:
                errors = invalid.errors(include_url=False)
            # Unknown keys first: a misspelt one explains why another is missing.
            for error in sorted(errors, key=lambda error: error["type"] != "extra_forbidden"):
                self._field(error)
        return None

    def _field(self, error: ErrorDetails) -> None:
        path = error["loc"]
        if path[-1] == "[key]" and error["type"] != "extra_forbidden":  # pydantic's way to blame the key of a map
            path = path[:-1]
        if not self._is_aside(path):
            self._tell(path, None if error["type"] == "missing" else error["input"], in_words(error, path))
        if error["type"] == "extra_forbidden":
            self._excuse(path)
        self._set_aside(path)
        if error["type"] == "missing":
            self._stand_in(path)

    def _rules(self, part: BaseModel, path: Keys) -> None:
        for name, field in spec_paths.fields_of(type(part)).items():
            attribute = next(key for key, own in type(part).model_fields.items() if own is field)
            value = getattr(part, attribute)
            inside = enumerate(value) if isinstance(value, list) else [(None, value)]
            for index, item in inside:
                if isinstance(item, BaseModel):
                    self._rules(item, (*path, name) if index is None else (*path, name, index))
        for rule in broken_rules(part):
            read = [(*path, *field.split(".")) for field in rule.fields]
            if not any(self._is_aside(keys) for keys in read):
                given = [keys for keys in read if self._root.line_of(keys) != self._root.line_of(path)]
                line = self._root.line_of(given[0] if given else path)
                self.mistakes.append(Mistake(spec_paths.dotted(path), None, rule.message, line))

    def _unsupported(self, run: FinetuneRun) -> None:
        for mistake in unsupported(run.spec):
            keys = tuple(int(key) if key.isdigit() else key for key in re.findall(r"[^.\[\]]+", mistake.path))
            if not self._is_aside(keys):
                self.mistakes.append(mistake._replace(line=self._root.line_of(keys)))

    def _tell(self, path: Keys, value: Any, message: str) -> None:
        self.mistakes.append(Mistake(spec_paths.dotted(path), value, message, self._root.line_of(path)))

    def _is_aside(self, path: Keys) -> bool:
        """Whether `path` is, or lies below, a part set aside."""
        return any(path[: len(aside)] == aside for aside in self._aside)

    def _excuse(self, unknown: Keys) -> None:
        """The key that a misspelt one means is not told to be missing as well."""
        meant = nearest_key(unknown)
        if meant is not None and meant not in self._parent(unknown):
            self._aside.add((*unknown[:-1], meant))

    def _parent(self, path: Keys) -> Any:
        """What holds the last key of `path`; an empty mapping where that was taken out already."""
        part = self._document
        for key in path[:-1]:
            if isinstance(part, dict) and key not in part:
                return {}
            part = part[key]
        return part

    def _set_aside(self, path: Keys) -> None:
        self._aside.add(path)
        parent = self._parent(path)
        if isinstance(parent, dict):
            parent.pop(path[-1], None)
        else:
            # An item of a list: the whole list goes, since its places must keep their numbers.
            self._set_aside(path[:-1])

    def _stand_in(self, path: Keys) -> None:
        """Put something valid, or an empty mapping to be filled in the next pass, where a required key is missing."""
        parent = self._parent(path)
        field = spec_paths.field_at(path)
        if spec_paths.model_at(path) is not None:
            parent[path[-1]] = {}
        elif field is not None:
            is_uri = any(isinstance(mark, UriMark) for mark in field.metadata)
            parent[path[-1]] = "file:///missing" if is_uri else _FIXED.get(str(path[-1]), "missing")


_FIXED = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneRun", "mountPath": "/missing"}


def resolve_paths(document: dict[str, Any], folder: Path, home: Path) -> None:
    """Turn every path in `document` that is no URI into a file:// one, in place; `folder` and `home` are absolute."""
    for mapping, key in spec_paths.uri_places(document):
        text = mapping[key]
        if not isinstance(text, str) or not text.strip() or _SCHEME.match(text) or "\0" in text:
            continue
        if text == "~" or text.startswith("~/"):
            text = str(home) + text[1:]
        mapping[key] = path_to_uri(_normal(folder / text))


def _normal(path: Path) -> Path:
    """`path` without `.` and `..`, by text alone, so that a digest does not depend on where links lead."""
    parts: list[str] = []
    for part in path.parts[1:]:
        if part == "..":
            del parts[-1:]
        else:
            parts.append(part)
    return Path("/", *parts)
