"""Bad input in the formats beside tables of text: refused by file and row, with exit code 65 and what would help."""

import base64
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from finetune_sdk.errors import DataInvalid
from tests.support import picture_formats as more
from tests.support.all_formats import Write
from tests.support.bad_sources import (
    FIRST,
    a_document,
    another_file,
    changed,
    coco,
    columns,
    deep,
    docarray,
    document,
    file,
    jsonl,
    line,
    metadata,
    notes,
    one_parquet,
    sample,
)
from tests.support.preparing import measured, twelve_pictures

TENSOR = {"dense": {"buffer": base64.b64encode(b"\0" * 12).decode(), "shape": [3], "dtype": "<f4"}}
BAD: dict[str, tuple[Write, str]] = {
    # JSON Lines
    "a line that is no JSON": (
        file("a.jsonl", '{"image": "a", "caption": "b"}\n{"image":\n'),
        "a.jsonl:2: bad-row: it is no",
    ),
    "a line that is a list": (
        file("a.jsonl", '{"image": "a", "caption": "b"}\n[1]\n'),
        "a.jsonl:2: bad-row: it must be an ob",
    ),
    "a line in Latin-1": (
        changed(jsonl, lambda data: data + b'{"image": "caf\xe9"}'),
        "a.jsonl:13: wrong-encoding: .*CP1252",
    ),
    "UTF-16 lines": (changed(jsonl, lambda data: data.decode().encode("utf-16")), "a.jsonl is not UTF-8; it is UTF-16"),
    "no lines": (file("a.jsonl", "\n"), "a.jsonl holds no objects"),
    "a caption that is a number": (
        line(caption=7),
        "a.jsonl:1: bad-row: caption must be a text or a list of texts, and h",
    ),
    "a null for a caption": (line(caption=None), "a.jsonl:1: no-caption"),
    "captions with a null": (line(caption=["a", None]), "a.jsonl:1: bad-row: caption must be"),
    "a picture that is a number": (line(image=7), "a.jsonl:1: missing-image: its picture must be a path or bytes"),
    "a picture without a path": (line(image={"path": None}), "a.jsonl:1: missing-image: its picture has neither bytes"),
    "a web address": (line(image="https://e.org/a.jpg"), "a.jsonl:1: image-url: .* is a web address; .*img2dataset"),
    "addresses in a column of their own": (
        file("a.jsonl", '{"URL": "https://e.org/a.jpg", "TEXT": "x"}'),
        "known to hold the image; its columns are URL, TEXT. If URL holds web addresses: .*img2dataset",
    ),
    "a line that nests too deep": (file("a.jsonl", '{"image": ' + "[" * 100_000), "a.jsonl:1: bad-row: it is no JSON"),
    # Parquet
    "no Parquet": (file("a.parquet", b"PAR1" + b"x" * 100), "a.parquet is no Parquet file, or is broken"),
    "a Parquet file that is cut": (changed(one_parquet, lambda data: data[:-20]), "is no Parquet file, or is broken"),
    "pages that are overwritten": (
        changed(one_parquet, lambda data: data[:600] + b"\xff" * 9000 + data[9600:]),
        "is no Parquet file, or is broken|cannot be used",
    ),
    "an empty Parquet file": (file("a.parquet", b""), "a.parquet is no Parquet file"),
    "captions that are numbers": (
        columns({"image": [FIRST], "caption": [7]}),
        r"data.test.columns.caption: column 'caption' of a.parquet holds int64, not texts; columns are image \(text\)",
    ),
    "pictures that are numbers": (columns({"image": [7], "caption": ["x"]}), "columns.image: column 'image' of a.parq"),
    "no caption column": (columns({"image": [FIRST], "words": ["x"]}), "known to hold the caption; its columns are"),
    "a null picture": (
        columns({"image": pa.array([None], pa.binary()), "caption": ["x"]}),
        "a.parquet:1: missing-image",
    ),
    "bytes that are no picture": (columns({"image": [b"no"], "caption": ["x"]}), "a.parquet:1: not-an-image: 2 bytes"),
    "an empty picture": (columns({"image": [b""], "caption": ["x"]}), "a.parquet:1: empty-image"),
    "a path that is missing": (
        columns({"image": ["no.jpg"], "caption": ["x"]}),
        "a.parquet:1: missing-image: file:.*no",
    ),
    "a struct whose path is missing": (
        columns({"image": [{"bytes": None, "path": "no.jpg"}], "caption": ["x"]}),
        "a.parquet:1: missing-image: file:.*no.jpg",
    ),
    "files that differ": (
        another_file({"image": [b"x"], "words": ["x"]}),
        "z.parquet has no column 'caption', as the fi",
    ),
    "a folder of notes": (notes, "no format that is known: found 1 .md"),
    # COCO
    "COCO's boxes": (
        document("a.json", {"images": [], "annotations": [{"image_id": 1, "bbox": []}]}),
        r"annotations without captions \(they have image_id, bbox\): give COCO's captions_",
    ),
    "COCO without images": (document("a.json", {"images": 3, "annotations": []}), "it has no list 'images'"),
    "a caption without picture": (
        document("a.json", {"images": [], "annotations": [{"image_id": 9, "caption": "x"}]}),
        "a.json:image_id 9: missing-image: 1 captions belong to image_id 9",
    ),
    "an image without file_name": (
        document("a.json", {"images": [{"id": 9}], "annotations": [{"image_id": 9, "caption": "x"}]}),
        r"a.json:images\[0\]: missing-image: it has no file_name",
    ),
    "a caption that is no text": (
        document("a.json", {"images": [], "annotations": [{"image_id": 9, "caption": "x"}, {"caption": 5}]}),
        r"a.json:annotations\[1\]: bad-row: it must be",
    ),
    "an image without captions": (
        document("a.json", {"images": [{"id": 9, "file_name": FIRST}], "annotations": []}),
        r"a.json:images\[0\]: no-caption",
    ),
    "a JSON that is cut": (changed(coco, lambda data: data[:-9]), "a.json is no JSON .*: it may be cut"),
    "a JSON in UTF-16": (
        changed(coco, lambda data: data.decode().encode("utf-16")),
        "a.json is not UTF-8; it is UTF-16",
    ),
    "a JSON of something else": (
        document("a.json", {"hello": 1}),
        "no format that is known: found a file that ends in .js",
    ),
    "a JSON that nests too deep": (file("a.json", "[" * 200_000), "a.json is no JSON"),
    # Karpathy
    "a Karpathy image without filename": (
        document("a.json", {"images": [{"sentences": [{"raw": "x"}], "split": "test"}]}),
        r"a.json:images\[0\]: missing-image: it has no filename",
    ),
    "a sentence without text": (
        document("a.json", {"images": [{"filename": FIRST, "sentences": [{"raw": "x"}, {}]}]}),
        r"a.json:images\[0\]: bad-row: sentence 2 has no text 'raw'",
    ),
    "sentences that are none": (
        document("a.json", {"images": [{"filename": FIRST, "sentences": 3}]}),
        r"a.json:images\[0\]: no-caption: it has no list of sentences",
    ),
    # Flickr
    "a line without tab": (
        file("a.token", f"{FIRST}#0\tx\n{FIRST}#1 x\n"),
        "a.token:2: bad-row: it is not image.jpg#0<TAB>",
    ),
    "a bar too few": (
        file("results.csv", f"image_name| comment_number| comment\n{FIRST}| x\n"),
        r"results.csv:2: bad-row: it is not image.jpg\| 0\| caption",
    ),
    "a token line in Latin-1": (
        file("a.token", f"{FIRST}#0\tx\n".encode() + b"b#0\tcaf\xe9\n"),
        "a.token:2: wrong-encoding",
    ),
    # Image folders
    "metadata of no captions": (
        metadata("file_name,label\na.jpg,1\n"),
        "metadata.csv has no column that is known to hold the",
    ),
    "metadata of a missing picture": (
        metadata("file_name,text\nno.jpg,x\n"),
        "metadata.csv:2: missing-image: file:.*set/no",
    ),
    # DocumentArray
    "a pickled DocumentArray": (
        sample("set.pickle-array"),
        "is pickled, and a pickle runs whatever .*protocol='protobuf'",
    ),
    "a pickled stream, compressed": (sample("set.pickle.gzip"), "is pickled"),
    "a pickle of something else": (file("a.pkl", pickle.dumps([1])), "a.pkl is pickled"),
    "a DocList": (sample("newer.bin"), "it is a DocList of DocArray 0.30 or later"),
    "a DocumentArray that is cut": (
        changed(docarray, lambda data: data[:-9]),
        "or is cut .it has 11 whole documents and says",
    ),
    "a DocumentArray of noise": (file("a.bin", b"\x01" + b"\xff" * 40), "a.bin is no DocumentArray"),
    "a compressed one that is cut": (
        changed(sample("set.protobuf-array.gzip"), lambda data: data[:-30]),
        "is no DocumentArray, or is cut",
    ),
    "an LZ4 frame of noise": (file("a.bin", b"\x04\x22\x4d\x18" + b"\xff" * 40), "a.bin is no DocumentArray"),
    "chunks nested too deep": (deep, "chunks are nested too deep"),
    "pictures without captions": (
        lambda _folder, pictures: pictures[0].path.parent,
        "holds pictures and no captions: found 12 .jpg. Put each picture's captions beside it, as cat.txt",
    ),
    "a document of text alone": (a_document(text="x"), r"a.json\[0\]: missing-image: the document holds no picture"),
    "a document of two pictures": (
        a_document(chunks=[{"uri": "a.jpg"}, {"uri": "b.jpg"}]),
        r"a.json\[0\]: bad-row: the document holds 2 pictures",
    ),
    "a document with a label": (
        a_document(uri=FIRST, tags={"finetuner_label": "a"}),
        r"a.json\[0\]: no-caption: it has no text, and its tags are finetuner_label: name the caption's in columns",
    ),
    "a blob that is no base64": (
        a_document(blob="?!", tags={"caption": "x"}),
        r"a.json\[0\]: bad-row: its blob is no base64",
    ),
    "a tensor of floats": (
        a_document(tensor=TENSOR, tags={"caption": "x"}),
        r"a.json\[0\]: bad-row: its tensor is 3 float32 and must be height x width x 3 uint8",
    ),
    "a tensor of a wrong shape": (
        a_document(tensor=TENSOR | {"dense": TENSOR["dense"] | {"shape": [4]}}, tags={"caption": "x"}),
        r"a.json\[0\]: bad-row: its tensor cannot be read",
    ),
}


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_by_file_and_row(tmp_path: Path, write: Write, message: str) -> None:
    pictures = twelve_pictures(tmp_path)
    with pytest.raises(DataInvalid, match=message) as caught:
        measured(write(tmp_path, pictures))
    assert caught.value.exit_code == 65


NAMED: dict[str, tuple[Write, dict[str, Any], str]] = {
    "COCO read as Karpathy": (
        coco,
        {"format": "karpathy"},
        "a.json is no Karpathy file: those have images, each with f",
    ),
    "Karpathy read as COCO": (
        lambda folder, p: more.write_karpathy(folder / "a.json", p),
        {"format": "coco"},
        "a.json is no COCO captions file: it has no list 'annotations'",
    ),
    "a CSV read as JSON Lines": (
        file("a.csv", "image,caption\n"),
        {"format": "jsonl"},
        "known to hold the image|a.csv:1",
    ),
    "JSON read as DocumentArray": (coco, {"format": "docarray"}, "a.json is no DocumentArray: it must be a list"),
    "a folder read as COCO": (
        lambda folder, _: folder / "pictures",
        {"format": "coco"},
        "must name one .json file, not a",
    ),
    "a folder read as Flickr": (
        lambda folder, _: folder / "pictures",
        {"format": "flickr"},
        "must name the token file",
    ),
    "a folder read as Parquet": (lambda folder, _: folder / "pictures", {"format": "parquet"}, "holds no .parquet"),
    "a column that is not there": (
        jsonl,
        {"columns": {"caption": "words"}},
        "data.test.columns.caption: a.jsonl has no column 'words'; it has image, caption",
    ),
    "a filter by a column that is not there": (one_parquet, {"where": {"fold": "1"}}, "has no column 'fold'; it has"),
    "a token file without lists": (
        lambda folder, p: more.write_token(folder / "a.token", p),
        {"where": {"split": "test"}},
        "a.token names no splits, and no lists such as Flickr_8k.trainImages.txt",
    ),
    "a filter that fits nothing": (
        lambda folder, p: more.write_karpathy(folder / "a.json", p),
        {"where": {"split": "tset"}},
        r"no row has split = tset \(met: train 12\)",
    ),
}


@pytest.mark.parametrize(("write", "values", "message"), NAMED.values(), ids=NAMED)
def test_a_wrong_name_in_the_spec_is_answered(
    tmp_path: Path, write: Write, values: dict[str, Any], message: str
) -> None:
    pictures = twelve_pictures(tmp_path)
    with pytest.raises(DataInvalid, match=message) as caught:
        measured(write(tmp_path, pictures), **values)
    assert caught.value.exit_code == 65


def test_a_bar_that_results_csv_lacks_is_forgiven(tmp_path: Path) -> None:
    pictures = twelve_pictures(tmp_path)
    path = more.write_bars(tmp_path / "results.csv", pictures)
    path.write_text(path.read_text().replace("picture-00003.jpg| 1| ", "picture-00003.jpg| 1   "))
    split, report = measured(path)
    assert report.rows_bad == 0
    assert split.images[3].captions == pictures[3].captions


def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetune_trainer.data import docarray_wire

    monkeypatch.setattr(docarray_wire, "LARGEST", 1 << 20)
    path = tmp_path / "a.protobuf-array.lz4"
    path.write_bytes(more.lz4(b"\n" + b"\0" * (8 << 20)))
    with pytest.raises(DataInvalid, match="more than 1,048,576 bytes when decompressed"):
        measured(path)
