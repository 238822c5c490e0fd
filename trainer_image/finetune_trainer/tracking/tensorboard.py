"""TensorBoard's event files, which it reads from a folder: TFRecords that hold protobuf messages of type Event.

Both formats are written by hand: what scalars need of them has not changed since 2015 and is a page long. The
packages that write them bring a web server or a second way to reach storage, write only to local files, and put host
and clock into them; equal runs shall leave equal files, through `Store`.

Formats: TensorFlow's core/lib/io/record_writer.h, and tensorboard/compat/proto/{event,summary}.proto.
"""

import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence

from finetune_sdk.storage import Store
from finetune_trainer.tracking.points import Point

ROOT = "tensorboard/"
SEGMENT, TEST = "segment", "test"
"""Kinds of files. A reader takes files by name, each once: of one step the later kind must sort later."""
_FILE = re.compile(r"tensorboard/events\.out\.tfevents\.(\d{10})\.(?:segment|test)")
_VERSION = b"brain.Event:2"
_POLYNOMIAL = 0x82F63B78
"""CRC-32C, bits reversed."""
_MASK = 0xA282EAD8
"""Added to a rotated checksum, as TFRecord wants it."""


def events_key(step: int, kind: str) -> str:
    """The file with what `kind` tells up to `step`. Names in the order of steps: TensorBoard reads them so."""
    return f"{ROOT}events.out.tfevents.{step:010d}.{kind}"


def write_events(store: Store, step: int, kind: str, points: Sequence[Point]) -> None:
    """Write a file, or write it again."""
    store.write(events_key(step, kind), encode_events(points))


def drop_events_after(store: Store, step: int) -> None:
    """Remove the files of later steps: they are made anew."""
    for entry in list(store.list(ROOT)):
        match = _FILE.fullmatch(entry.key)
        if match and int(match[1]) > step:
            store.delete(entry.key)


def encode_events(points: Iterable[Point]) -> bytes:
    """A whole event file; the same points give the same bytes.

    Its wall times are steps in place of seconds: when a step ended is not kept, and would differ between equal runs.
    """
    first = _wall_time(0.0) + _bytes(3, _VERSION)
    return b"".join(_record(event) for event in (first, *map(_event, points)))


def _event(point: Point) -> bytes:
    return _wall_time(float(point.step)) + b"\x10" + _varint(point.step) + _bytes(5, _summary(point.values))


def _summary(values: Mapping[str, float]) -> bytes:
    """Each value has a tag, field 1, and a float, field 2."""
    pairs = (_bytes(1, name.encode()) + b"\x15" + _float32(value) for name, value in values.items())
    return b"".join(_bytes(1, pair) for pair in pairs)


def _float32(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))


def _wall_time(seconds: float) -> bytes:
    return b"\x09" + struct.pack("<d", seconds)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the high bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    value = 0xFFFFFFFF
    for byte in content:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    value ^= 0xFFFFFFFF
    rotated = (value >> 15 | value << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + _MASK) & 0xFFFFFFFF)


def _table() -> list[int]:
    """What each byte does to a CRC-32C."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()
