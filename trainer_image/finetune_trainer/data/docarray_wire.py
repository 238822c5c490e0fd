"""DocArray's binaries without DocArray: protobuf's wire format for the few fields that matter, and no pickle.

protocol='protobuf' writes a byte for the version, the number of documents in 8 bytes, then each document after its
length in 4, compressed one by one; protocol='protobuf-array' writes one message, compressed whole. The fields' numbers
are those of DocArray's docarray.proto up to 0.21. This stands for the protobuf library and classes generated for a
format that nobody changes any more.
"""

import bz2
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

COMPRESSIONS = (".gzip", ".gz", ".bz2", ".lzma", ".xz", ".zlib", ".lz4")
STREAM = b"\x01"
"""The version byte of protocol='protobuf' and 'pickle'."""
NEWER_STREAM = b"\x02"
HEADER = 9
LARGEST = 32 << 30
"""Bytes after decompression: more is refused before it fills the memory."""
AT_ONCE = 1 << 20
"""Bytes decompressed at once."""
DEEPEST = 16
"""Chunks within chunks, and values within tags."""

BLOB, TENSOR, TEXT, URI, MODALITY, MIME_TYPE, CHUNKS, TAGS = 2, 3, 4, 9, 10, 11, 14, 17
"""Numbers of DocumentProto's fields."""
TEXTS = {TEXT: "text", URI: "uri", MODALITY: "modality", MIME_TYPE: "mime_type"}

Value = int | bytes


class Pickled(Exception):
    """It is a pickle."""


class Newer(Exception):
    """It is of DocArray 0.30 or later."""


class Broken(Exception):
    """It is neither, or is cut."""


def documents_of(data: bytes) -> list[dict[str, Any]]:
    """The documents, as their JSON would have them, blobs as bytes. Raises Pickled, Newer, Broken."""
    if data[:1] == NEWER_STREAM and len(data) >= HEADER:
        raise Newer
    try:
        if data[:1] == STREAM:
            return [_document(decompress(part), 0) for part in _stream(data)]
        whole = decompress(data)
        if not whole.startswith(b"\n"):
            raise Broken("it does not begin with a document")
        return [_document(value, 0) for number, value in _fields(whole) if number == 1 and isinstance(value, bytes)]
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise Broken(str(error)) from None


def decompress(data: bytes) -> bytes:
    """What was compressed, told by its first bytes. Raises Pickled where that is a pickle, Broken where it is cut."""
    opener = next((opener for magic, opener in _OPENERS.items() if data.startswith(magic)), None)
    if opener is not None:
        try:
            with opener(io.BytesIO(data)) as file:
                data = _read_up_to(file, LARGEST + 1)
        except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
            raise Broken(str(error)) from None
    elif data[:1] == b"\x78" and len(data) > 1 and int.from_bytes(data[:2], "big") % 31 == 0:
        try:
            data = zlib.decompressobj().decompress(data, LARGEST + 1)
        except zlib.error as error:
            raise Broken(str(error)) from None
    if len(data) > LARGEST:
        raise Broken(f"it has more than {LARGEST:,} bytes when decompressed")
    if data.startswith(b"\x80"):
        raise Pickled
    return data


def _read_up_to(file: IO[bytes], limit: int) -> bytes:
    """As `read`, which takes all of `limit` from the memory at once, whatever there is to read."""
    whole = io.BytesIO()
    while whole.tell() < limit and (part := file.read(min(AT_ONCE, limit - whole.tell()))):
        whole.write(part)
    return whole.getvalue()


def _lz4(file: IO[bytes]) -> IO[bytes]:
    import pyarrow as pa

    return cast("IO[bytes]", pa.input_stream(file, compression="lz4"))


_OPENERS: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)),
    b"BZh": lambda file: cast("IO[bytes]", bz2.BZ2File(file)),
    b"\xfd7zXZ\0": lambda file: cast("IO[bytes]", lzma.LZMAFile(file)),  # noqa: SIM115 - the caller closes it
    b"\x04\x22\x4d\x18": _lz4,
}


def _stream(data: bytes) -> Iterator[bytes]:
    count = int.from_bytes(data[1:HEADER], "big")
    at = HEADER
    for index in range(count):
        length = int.from_bytes(data[at : at + 4], "big")
        part = data[at + 4 : at + 4 + length]
        if len(part) < length or not part:
            raise Broken(f"it has {index} whole documents and says that it has {count}")
        yield part
        at += 4 + length


def _document(data: bytes, depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        raise Broken("chunks are nested too deep")
    document: dict[str, Any] = {}
    for number, value in _fields(data):
        if not isinstance(value, bytes):
            continue
        if number in TEXTS:
            document[TEXTS[number]] = value.decode()
        elif number == BLOB:
            document["blob"] = value
        elif number == TENSOR:
            document["tensor"] = _tensor(value)
        elif number == CHUNKS:
            document.setdefault("chunks", []).append(_document(value, depth + 1))
        elif number == TAGS:
            document["tags"] = _struct(value, depth + 1)
    return document


def _tensor(data: bytes) -> dict[str, Any]:
    """NdArrayProto as its JSON has it, the buffer as bytes; without `dense` where it is a sparse one."""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            fields = list(_fields(value))
            shape: list[int] = []
            for key, one in fields:
                if key == 2:
                    shape += _packed(one) if isinstance(one, bytes) else [one]
            parts = {key: one for key, one in fields if isinstance(one, bytes)}
            return {"dense": {"buffer": parts.get(1, b""), "shape": shape, "dtype": parts.get(3, b"").decode()}}
    return {}


def _struct(data: bytes, depth: int) -> dict[str, Any]:
    """google.protobuf.Struct."""
    values: dict[str, Any] = {}
    for number, entry in _fields(data):
        if number == 1 and isinstance(entry, bytes):
            parts = dict(_fields(entry))
            key, value = parts.get(1, b""), parts.get(2, b"")
            if isinstance(key, bytes) and isinstance(value, bytes):
                values[key.decode()] = _value(value, depth)
    return values


def _value(data: bytes, depth: int) -> Any:
    """google.protobuf.Value."""
    if depth > DEEPEST:
        raise Broken("tags are nested too deep")
    for number, value in _fields(data):
        if number == 2 and isinstance(value, bytes):
            return struct.unpack("<d", value)[0]
        if number == 4:
            return bool(value)
        if isinstance(value, bytes) and number in (3, 5, 6):
            if number == 3:
                return value.decode()
            if number == 5:
                return _struct(value, depth + 1)
            return [_value(one, depth + 1) for key, one in _fields(value) if key == 1 and isinstance(one, bytes)]
    return None


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of a message: its number, and a whole number or bytes. Raises Broken."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise Broken(f"a field of kind {kind} at byte {at}")
        if at + length > len(data):
            raise Broken(f"a field of {length} bytes at byte {at} of {len(data)}")
        yield number, data[at : at + length]
        at += length


def _packed(data: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise Broken(f"no number at byte {at}")
