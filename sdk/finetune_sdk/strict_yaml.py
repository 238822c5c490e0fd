"""YAML 1.2, strictly, with the line of every key: JSON's types only, one document, no key twice, bounded aliases.

ruamel.yaml reads the syntax; what a plain scalar means is decided here by YAML 1.2's core schema, so that 1e-5 is a
number, `on` and `yes` are text, and a date stays text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

MAX_BYTES = 1 << 20
"""A run's file is a few hundred lines; what is larger is another file."""
MAX_NODES = 20_000
"""Values after aliases are written out: a billion laughs end here."""
MAX_DEPTH = 40
MAX_WHOLE = 2**53
"""Up to here 5.0 is read as 5, as by kubectl, which writes YAML as JSON before the API server sees it."""

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"(?P<sign>[-+]?)\.(?P<name>inf|Inf|INF|nan|NaN|NAN)")
_TEXT_TAG = "tag:yaml.org,2002:str"
_ADVICE = {
    "found character '\\t'": "a tab: indent with spaces",
    "mapping values are not allowed": "a second ': ' in one line: put the text in quotes, or begin a new line",
    "unexpected end of stream": "a quote or bracket is not closed",
    "expected '<document start>'": "the indentation does not fit the lines above",
    "expected <block end>": "the indentation does not fit the lines above",
    "could not find expected ':'": "a key without ':'",
    "expected ',' or": "a comma or a closing bracket is missing; text that holds brackets or commas needs quotes",
    "that cannot start any token": "text that begins so needs quotes",
}


class YamlMistake(ValueError):
    """The text is no YAML that we read; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Node:
    """A value with the line of its key, or of its dash. `value` holds nodes where it is a mapping or a list."""

    value: Any
    line: int
    size: int = 1

    def plain(self) -> Any:
        """The value as JSON has it."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def line_of(self, path: tuple[str | int, ...]) -> int:
        """The line of what lies at `path`, or of the nearest part of it that is there."""
        node = self
        for key in path:
            inside = node.value if isinstance(node.value, dict | list) else {}
            if isinstance(inside, list):
                inside = dict(enumerate(inside))
            if key not in inside:
                break
            node = inside[key]
        return node.line


def read_yaml(data: bytes) -> Node:
    """The one document in `data`. Raises YamlMistake."""
    if len(data) > MAX_BYTES:
        raise YamlMistake(f"is {len(data):,} bytes; a run's file holds at most {MAX_BYTES:,}", 1)
    text = _decode(data)
    events = iter(YAML(typ="safe", pure=True).parse(text))
    try:
        return _Composer(events).document()
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlMistake(_in_words(error.problem or str(error)), line) from error
    except YAMLError as error:  # the reader's: a character that YAML does not allow
        position = getattr(error, "position", 0)
        character = getattr(error, "character", 0)
        line = text.count("\n", 0, position) + 1
        raise YamlMistake(f"the control character U+{character:04X}: remove it", line) from error


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlMistake(f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8", line) from error


def _in_words(problem: str) -> str:
    return next((advice for sign, advice in _ADVICE.items() if sign in problem), problem)


class _Composer:
    """Builds nodes from ruamel's events, one pass, no recursion beyond MAX_DEPTH."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}

    def document(self) -> Node:
        next(self._events)  # the stream's start
        if not isinstance(next(self._events), DocumentStartEvent):
            raise YamlMistake("is empty", 1)
        root = self._node(next(self._events), 0)
        next(self._events)  # the document's end
        after = next(self._events)
        if isinstance(after, DocumentStartEvent):
            raise YamlMistake("a second document begins here: keep one run in a file", after.start_mark.line + 1)
        return root

    def _node(self, event: Event, depth: int) -> Node:
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise YamlMistake(f"more than {MAX_DEPTH} levels deep", line)
        if isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                raise YamlMistake(f"*{event.anchor} names nothing above it", line)
            return replace(self._anchors[event.anchor], line=line)
        tag, anchor = getattr(event, "tag", None), getattr(event, "anchor", None)
        if tag is not None and not (isinstance(event, ScalarEvent) and tag == _TEXT_TAG):
            raise YamlMistake(f"the tag {tag} is not supported: remove it", line)
        if isinstance(event, ScalarEvent):
            node = Node(_scalar(event), line)
        elif isinstance(event, MappingStartEvent):
            node = self._mapping(line, depth)
        else:
            node = self._sequence(line, depth)
        if node.size > MAX_NODES:
            raise YamlMistake(f"more than {MAX_NODES:,} values, aliases written out", line)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _mapping(self, line: int, depth: int) -> Node:
        members: dict[str, Node] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key_line = event.start_mark.line + 1
            if not isinstance(event, ScalarEvent):
                raise YamlMistake("a key must be plain text", key_line)
            key = _text(event)
            if key in members:
                raise YamlMistake(f"{key} stands here twice, first in line {members[key].line}: keep one", key_line)
            members[key] = replace(self._node(next(self._events), depth + 1), line=key_line)
        return Node(members, line, 1 + sum(node.size for node in members.values()))

    def _sequence(self, line: int, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Node(items, line, 1 + sum(node.size for node in items))


def _text(event: ScalarEvent) -> str:
    """JSON writes a character beyond U+FFFF as two escapes, each half of it, which ruamel leaves apart."""
    text: str = event.value
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        half = "half of a character, an escape from \\ud800 to \\udfff: write the character itself"
        raise YamlMistake(half, event.start_mark.line + 1) from error


def _scalar(event: ScalarEvent) -> Any:
    """YAML 1.2 section 10.3, the core schema: only plain scalars are more than text."""
    text = _text(event)
    if event.style is not None or event.tag == _TEXT_TAG:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return int(number) if number.is_integer() and abs(number) <= MAX_WHOLE else number
    if special := _SPECIAL.fullmatch(text):
        return float(special["sign"] + special["name"])
    return text
