"""One set of pictures in every format that is read: what T19 compares, as writers by name."""

import gzip
from collections.abc import Callable
from pathlib import Path

from tests.support import picture_formats as more
from tests.support.pictures import Picture, write_folder, write_table, write_webdataset

Write = Callable[[Path, list[Picture]], Path]
"""Writes a set below a folder, whose pictures lie in pictures/; returns what the data's uri names."""

ALL_FORMATS: dict[str, Write] = {
    "csv": lambda folder, pictures: write_table(folder / "a.csv", pictures),
    "csv, BOM, CRLF": lambda folder, pictures: write_table(folder / "a.csv", pictures, newline="\r\n", bom=True),
    "csv, semicolons": lambda folder, pictures: write_table(folder / "a.csv", pictures, delimiter=";"),
    "captions.txt": lambda folder, pictures: write_table(folder / "captions.txt", pictures),
    "flickr8k_test_karpathy.txt": lambda folder, pictures: more.write_pairs(folder / "karpathy.txt", pictures),
    "tsv": lambda folder, pictures: write_table(folder / "a.tsv", pictures, delimiter="\t"),
    "folder": lambda folder, pictures: write_folder(folder / "beside", pictures),
    "folder, CRLF": lambda folder, pictures: write_folder(folder / "beside", pictures, newline="\r\n"),
    "folder, metadata.csv": lambda folder, pictures: more.write_metadata(folder / "beside", pictures, "csv"),
    "folder, metadata.jsonl": lambda folder, pictures: more.write_metadata(folder / "beside", pictures, "jsonl"),
    "folder, metadata.parquet": lambda folder, pictures: more.write_metadata(folder / "beside", pictures, "parquet"),
    "webdataset": lambda folder, pictures: write_webdataset(folder / "shards", pictures, nshards=False),
    "webdataset, json": lambda folder, pictures: write_webdataset(folder / "shards", pictures, as_json=True),
    "CLIP Benchmark": lambda folder, pictures: write_webdataset(folder / "wds" / "test", pictures).parent,
    "jsonl": lambda folder, pictures: more.write_jsonl(folder / "a.jsonl", pictures),
    "jsonl, a line a caption": lambda folder, pictures: more.write_jsonl(folder / "a.jsonl", pictures, lists=False),
    "jsonl, BOM, CRLF": lambda folder, pictures: more.write_jsonl(
        folder / "a.jsonl", pictures, newline="\r\n", bom=True
    ),
    "jsonl, ASCII": lambda folder, pictures: more.write_jsonl(folder / "a.ndjson", pictures, ascii_only=True),
    "json list": lambda folder, pictures: more.write_json_list(folder / "a.json", pictures),
    "parquet": lambda folder, pictures: more.write_parquet(folder / "parquet", pictures),
    "parquet, bytes": lambda folder, pictures: more.write_parquet(folder / "parquet", pictures, inside="bytes"),
    "parquet, paths": lambda folder, pictures: more.write_parquet(folder / "parquet", pictures, inside="path"),
    "parquet, a pattern": lambda folder, pictures: (
        more.write_parquet(folder / "parquet", pictures) / "part-{00000..00001}-of-00002.parquet"
    ),
    "coco": lambda folder, pictures: more.write_coco(folder / "captions_made.json", pictures),
    "karpathy": lambda folder, pictures: more.write_karpathy(folder / "dataset_made.json", pictures),
    "karpathy, COCO's": lambda folder, pictures: more.write_karpathy(folder / "dataset.json", pictures, coco=True),
    "flickr": lambda folder, pictures: more.write_token(folder / "made.token.txt", pictures),
    "flickr, CRLF": lambda folder, pictures: more.write_token(folder / "made.token", pictures, newline="\r\n"),
    "flickr, bars": lambda folder, pictures: more.write_bars(folder / "results.csv", pictures),
    "docarray, json": lambda folder, pictures: more.write_docarray_json(folder / "a.json", pictures),
    "docarray": lambda folder, pictures: more.write_docarray(folder / "a.protobuf", pictures),
    "docarray, gzip": lambda folder, pictures: more.write_docarray(folder / "a.protobuf.gzip", pictures, gzip.compress),
    "docarray, lz4": lambda folder, pictures: more.write_docarray(folder / "a.protobuf.lz4", pictures, more.lz4),
}
