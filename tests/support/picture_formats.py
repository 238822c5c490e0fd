"""A set of pictures in the formats that pictures.py does not write: JSON, Parquet, metadata files, DocArray's."""

import base64
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tests.support.pictures import Picture

Splits = Sequence[str] | None


def write_jsonl(
    path: Path,
    pictures: Sequence[Picture],
    *,
    split: Splits = None,
    lists: bool = True,
    newline: str = "\n",
    bom: bool = False,
    ascii_only: bool = False,
) -> Path:
    """JSON Lines above the pictures: a line a picture with a list, or a line a caption."""
    lines: list[dict[str, Any]] = []
    for index, picture in enumerate(pictures):
        more = {"split": split[index]} if split else {}
        said = [list(picture.captions)] if lists else list(picture.captions)
        lines += [{"image": _relative(picture, path), "caption": one, **more} for one in said]
    text = "".join(json.dumps(line, ensure_ascii=ascii_only) + newline for line in lines)
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    return path


def write_json_list(path: Path, pictures: Sequence[Picture]) -> Path:
    """One JSON list, as BLIP has it."""
    objects = [{"image": _relative(picture, path), "caption": list(picture.captions)} for picture in pictures]
    path.write_text(json.dumps(objects, ensure_ascii=False), encoding="utf-8")
    return path


def write_parquet(
    folder: Path, pictures: Sequence[Picture], *, inside: str = "struct", files: int = 2, split: Splits = None
) -> Path:
    """Hugging Face's part-00000-of-0000N.parquet. `inside`: struct, bytes or path; with paths, a row a caption."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for index, picture in enumerate(pictures):
        data = picture.path.read_bytes()
        image: object = {"bytes": data, "path": picture.name} if inside == "struct" else data
        more = {"split": split[index]} if split else {}
        if inside == "path":
            rows += [{"image": str(picture.path), "caption": one, **more} for one in picture.captions]
        else:
            rows.append({"image": image, "caption": list(picture.captions), **more})
    size = -(-len(rows) // files)
    for index in range(files):
        table = pa.Table.from_pylist(rows[index * size : (index + 1) * size])
        name = f"part-{index:05d}-of-{files:05d}.parquet"
        parquet.write_table(table, folder / name, row_group_size=4)
    return folder


def write_coco(path: Path, pictures: Sequence[Picture]) -> Path:
    """captions_*.json, annotations in another order than the images."""
    images = [{"id": 1000 + i, "file_name": _relative(picture, path)} for i, picture in enumerate(pictures)]
    notes = [(1000 + i, caption) for i, picture in enumerate(pictures) for caption in picture.captions]
    annotations = [{"id": i, "image_id": image, "caption": caption} for i, (image, caption) in enumerate(notes)]
    annotations.sort(key=lambda one: -int(str(one["image_id"])))
    document = {"info": {}, "licenses": [], "images": images, "annotations": annotations}
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def write_karpathy(path: Path, pictures: Sequence[Picture], split: Splits = None, *, coco: bool = False) -> Path:
    """dataset_*.json; `coco`: with filepath apart from filename, as only COCO's has it."""
    images = []
    for index, picture in enumerate(pictures):
        folder, _, name = _relative(picture, path).rpartition("/")
        sentences = [{"raw": one, "tokens": one.split(), "imgid": index} for one in picture.captions]
        place = {"filepath": folder, "filename": name} if coco else {"filename": f"{folder}/{name}"}
        images.append({**place, "imgid": index, "sentences": sentences, "split": split[index] if split else "train"})
    path.write_text(json.dumps({"images": images, "dataset": "made"}, ensure_ascii=False), encoding="utf-8")
    return path


def write_token(path: Path, pictures: Sequence[Picture], newline: str = "\n") -> Path:
    """Flickr8k.token.txt."""
    lines = [
        f"{_relative(picture, path)}#{number}\t{one}{newline}"
        for picture in pictures
        for number, one in enumerate(picture.captions)
    ]
    path.write_bytes("".join(lines).encode())
    return path


def write_bars(path: Path, pictures: Sequence[Picture]) -> Path:
    """Flickr30k's results.csv."""
    lines = [
        f"{_relative(picture, path)}| {number}| {one}\n"
        for picture in pictures
        for number, one in enumerate(picture.captions)
    ]
    path.write_bytes("".join(["image_name| comment_number| comment\n", *lines]).encode())
    return path


def write_pairs(path: Path, pictures: Sequence[Picture]) -> Path:
    """CLIP Benchmark's flickr8k_test_karpathy.txt: no quotes, whatever stands in a caption."""
    lines = [f"{_relative(picture, path)},{one}\n" for picture in pictures for one in picture.captions]
    path.write_bytes("".join(["image,caption\n", *lines]).encode())
    return path


def write_metadata(folder: Path, pictures: Sequence[Picture], kind: str, split: Splits = None) -> Path:
    """Hugging Face's image folder, with one metadata file or one below each split's folder."""
    for name in dict.fromkeys(split or [""]):
        chosen = [picture for index, picture in enumerate(pictures) if not split or split[index] == name]
        (folder / name).mkdir(parents=True, exist_ok=True)
        for picture in chosen:
            shutil.copyfile(picture.path, folder / name / picture.name)
        inside = [Picture(folder / name / picture.name, picture.captions) for picture in chosen]
        rows = [{"file_name": picture.name, "text": one} for picture in inside for one in picture.captions]
        path = folder / name / f"metadata.{kind}"
        if kind == "parquet":
            parquet.write_table(pa.Table.from_pylist(rows), path)
        elif kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            cells = [[one.replace('"', '""') for one in row.values()] for row in rows]
            path.write_bytes(b"".join('"{}","{}"\r\n'.format(*row).encode() for row in [["file_name", "text"], *cells]))
    return folder


def write_docarray_json(path: Path, pictures: Sequence[Picture]) -> Path:
    """A DocumentArray as Finetuner wants it for CLIP: each document with chunks of a picture and its captions."""
    documents = []
    for index, picture in enumerate(pictures):
        chunks: list[dict[str, Any]] = [{"id": "t", "text": one, "modality": "text"} for one in picture.captions]
        blob = base64.b64encode(picture.path.read_bytes()).decode()
        chunks.append({"id": "i", "blob": blob, "uri": None, "modality": "image"})
        documents.append({"id": str(index), "text": None, "chunks": chunks, "tags": None})
    path.write_text(json.dumps(documents, ensure_ascii=False), encoding="utf-8")
    return path


def write_docarray(path: Path, pictures: Sequence[Picture], compress: Callable[[bytes], bytes] = bytes) -> Path:
    """The same as protocol='protobuf': a header, then each message after its length, compressed by itself."""
    parts = []
    for picture in pictures:
        chunks = [field(4, one.encode()) + field(10, b"text") for one in picture.captions]
        chunks.append(field(2, picture.path.read_bytes()) + field(10, b"image"))
        document = field(1, b"0" * 32) + b"".join(field(14, chunk) for chunk in chunks)
        parts.append(compress(document))
    body = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    path.write_bytes(b"\x01" + len(parts).to_bytes(8, "big") + body)
    return path


def field(number: int, data: bytes) -> bytes:
    """A protobuf field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Protobuf's whole number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def lz4(data: bytes) -> bytes:
    """One LZ4 frame."""
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, "lz4") as stream:
        stream.write(data)
    return bytes(buffer.getvalue())


def _relative(picture: Picture, path: Path) -> str:
    return str(picture.path.relative_to(path.parent))
