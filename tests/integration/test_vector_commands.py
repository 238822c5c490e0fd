"""`finetune compare`, `encode` and `search` as commands: what they print and write, and what a mistake is told."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from finetune_trainer.pipeline.vectors import Ids, Origin, Vectors, ids_path, write_vectors
from tests.integration.test_docs import blocks_of
from tests.support.command import Command, Ended
from tests.support.minio import S3Server
from tests.support.models import tiny_model, tiny_open_clip_dir
from tests.support.pictures import make_pictures, write_table

SENTENCE = "a red circle in the middle on grass"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, twelve pictures and their captions."""
    made = tmp_path_factory.mktemp("commands")
    tiny_open_clip_dir(made / "base")
    tiny_open_clip_dir(made / "other", "quickgelu", seed=1)
    write_table(made / "captions.csv", make_pictures(made / "pictures", 12))
    return made


def done(ended: Ended) -> Ended:
    assert ended.code == 0, ended.err
    return ended


def test_compare_prints_and_writes_both_as_evaluate_does(finetune: Command, folder: Path, tmp_path: Path) -> None:
    data = ("-d", "captions.csv", "-k", "1", "-k", "5")
    ended = done(finetune(folder, "compare", "base", "other", *data, "-o", tmp_path / "made/both.json"))
    both = json.loads((tmp_path / "made/both.json").read_bytes())
    for model, place in (("base", "first"), ("other", "second")):
        done(finetune(folder, "evaluate", "-m", model, *data, "-o", tmp_path / "one.json"))
        assert both[place] == json.loads((tmp_path / "one.json").read_bytes())
    for metric, change in both["changes"].items():
        line = next(line for line in ended.out.splitlines() if line.startswith(metric + " "))
        assert f"{100 * change['before']:.1f} %" in line
        assert f"{100 * change['after']:.1f} %" in line
    assert "encode" not in ended.out
    assert "first: pictures" in ended.err, "progress goes to stderr"


def test_a_folder_is_encoded_once_and_searched_as_if_it_were_read(
    finetune: Command, folder: Path, tmp_path: Path
) -> None:
    asked = (SENTENCE, "--top", "3")
    read = done(finetune(folder, "search", "-m", "base", "pictures/", *asked))
    for name in ("v.npy", "v.parquet"):
        ended = done(finetune(folder, "encode", "-m", "base", "pictures/", "-o", tmp_path / name))
        assert ended.out == f"{tmp_path / name}: 12 pictures, 32 numbers each\n"
        assert done(finetune(folder, "search", "-m", "base", tmp_path / name, *asked)).out == read.out
    ranks, similarities, paths = zip(*(line.split() for line in read.out.splitlines()), strict=True)
    assert ranks == ("1", "2", "3")
    assert list(map(float, similarities)) == sorted(map(float, similarities), reverse=True)
    assert all((folder / path).is_file() for path in paths)


def test_texts_of_a_column_are_encoded(finetune: Command, folder: Path, tmp_path: Path) -> None:
    ended = done(
        finetune(
            folder, "encode", "-m", "base", "--texts", "captions.csv", "--column", "caption", "-o", tmp_path / "t.npy"
        )
    )
    assert ended.out == f"{tmp_path / 't.npy'}: 24 texts, 32 numbers each\n"
    assert len(np.load(tmp_path / "t.npy")) == 24


def test_pictures_and_vectors_on_s3(finetune: Command, folder: Path, tmp_path: Path, minio_server: S3Server) -> None:
    prefix = minio_server.scratch()
    bucket, _, key = prefix.removeprefix("s3://").partition("/")
    client = minio_server.client()
    done(finetune(folder, "encode", "-m", "base", "pictures", "-o", tmp_path / "v.npy"))
    for path in [*(folder / "pictures").glob("*.jpg"), tmp_path / "v.npy", tmp_path / "v.ids.json"]:
        client.fput_object(bucket, f"{key}/{path.parent.name}/{path.name}", str(path))
    there = (f"{prefix}/pictures", f"{prefix}/{tmp_path.name}/v.npy")
    found = [done(finetune(folder, "search", "-m", "base", at, SENTENCE, **minio_server.environment)) for at in there]
    assert [line.split()[-1].removeprefix(f"{prefix}/") for line in found[0].out.splitlines()] == [
        line.split()[-1] for line in found[1].out.splitlines()
    ]


def test_the_guides_python_reads_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors(tmp_path / "pictures.npy")
    vectors(tmp_path / "captions.parquet", "texts")
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).resolve().parents[2] / "docs/guides/encode-and-search.md"
    names: dict[str, object] = {}
    for block in blocks_of(page):
        if block.language == "python":
            exec(block.text, names)  # noqa: S102 - our own page
            found = names["vectors"]
            assert isinstance(found, np.ndarray)
            assert np.array_equal(found, np.eye(2, 32, dtype=np.float32))


@dataclass(frozen=True)
class Case:
    """A command line, what is done to the folder before it, and what its user is told."""

    line: str
    code: int
    told: str
    spoil: Callable[[Path], object] = lambda _folder: None


def vectors(path: Path, kind: str = "pictures", digest: str | None = None, width: int = 32, names: int = 2) -> None:
    origin = Origin.model_validate(
        {"kind": kind, "model": "custom", "pretrained": "random", "weightsDigest": digest or tiny_model().digest}
    )
    rows = np.eye(2, width, dtype=np.float32)
    write_vectors(Vectors(origin, ["a.jpg", "b.jpg"][:names], rows), path)


def bare_npy(folder: Path) -> None:
    np.save(folder / "v.npy", np.eye(2, 32, dtype=np.float32))


def pickled(folder: Path) -> None:
    vectors(folder / "v.npy")
    np.save(folder / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def foreign_parquet(folder: Path) -> None:
    parquet.write_table(pa.table({"id": ["a"], "vector": [[1.0, 0.0]]}), folder / "v.parquet")


def other_version(folder: Path) -> None:
    vectors(folder / "v.npy")
    document = json.loads(ids_path(folder / "v.npy").read_bytes())
    assert Ids.model_validate(document).version == 1
    ids_path(folder / "v.npy").write_text(json.dumps({**document, "version": 2}))


def broken_picture(folder: Path) -> None:
    (folder / "pictures/picture-00003.jpg").write_bytes(b"\xff\xd8\xff no jpeg")


def latin(folder: Path) -> None:
    (folder / "q.txt").write_bytes("a dog\na caf\xe9\n".encode("latin-1"))


CASES = {
    # compare
    "compare: no such model": Case("compare base nowhere -d captions.csv", 65, "nowhere holds no weights"),
    "compare: no such architecture": Case("compare base ViT-B-23:openai -d captions.csv", 64, "ViT-B-23"),
    "compare: no such tag": Case("compare base ViT-B-32:openia -d captions.csv", 64, "openia"),
    "compare: a name that is none": Case("compare base a%b:openai -d captions.csv", 2, "SECOND: name: "),
    "compare: no such data": Case("compare base other -d gone.csv", 65, "--data.uri: nothing is stored at"),
    "compare: no data": Case("compare base other", 2, "Missing option '--data'"),
    "compare: one model": Case("compare base -d captions.csv", 2, "Missing argument 'SECOND'"),
    "compare: k above the candidates": Case("compare base other -d captions.csv -k 50", 64, "50 is above the number"),
    "compare: half a filter": Case("compare base other -d captions.csv --where split", 2, "write COLUMN=VALUE"),
    "compare: a file below a file": Case(
        "compare base other -d captions.csv -o captions.csv/a.json", 2, "captions.csv is no folder that may be written"
    ),
    # encode
    "encode: no such folder": Case("encode -m base gone/ -o v.npy", 65, "SOURCE.uri: nothing is stored at"),
    "encode: an empty folder": Case(
        "encode -m base empty/ -o v.npy", 65, "SOURCE.uri: nothing is stored at", lambda f: (f / "empty").mkdir()
    ),
    "encode: a folder without pictures": Case("encode -m base base/ -o v.npy", 65, "is no format that is known"),
    "encode: no such model": Case("encode -m nowhere pictures/ -o v.npy", 65, "nowhere holds no weights"),
    "encode: an ending that says nothing": Case(
        "encode -m base pictures/ -o v.csv", 2, "--to v.csv: vectors are written as .npy or .parquet"
    ),
    "encode: a broken picture": Case(
        "encode -m base pictures/ -o v.npy", 65, "picture-00003.jpg: not-an-image: ", broken_picture
    ),
    "encode: no row fits": Case(
        "encode -m base captions.csv --where caption=x -o v.npy", 65, "SOURCE: no row has caption = x"
    ),
    "encode: texts that are no UTF-8": Case(
        "encode -m base --texts q.txt -o v.npy", 65, "SOURCE: q.txt:2 is not UTF-8", latin
    ),
    "encode: a picture as texts": Case(
        "encode -m base --texts pictures/picture-00000.jpg -o v.npy", 65, "picture-00000.jpg:1 is not UTF-8"
    ),
    "encode: a folder as texts": Case("encode -m base --texts pictures -o v.npy", 65, "SOURCE: there is no file"),
    "encode: no texts": Case(
        "encode -m base --texts q.txt -o v.npy", 65, "q.txt:1: empty-text", lambda f: (f / "q.txt").write_text("\n")
    ),
    "encode: no such column": Case(
        "encode -m base --texts captions.csv --column words -o v.npy", 65, "no column 'words'; it has image, caption"
    ),
    "encode: a column of no table": Case(
        "encode -m base --texts q.txt --column words -o v.npy", 65, "q.txt is read line by line", latin
    ),
    "encode: a column of pictures": Case("encode -m base pictures --column a -o v.npy", 2, "--texts goes with it"),
    "encode: a filter of texts": Case(
        "encode -m base --texts captions.csv --where a=b -o v.npy", 2, "leave them out with --texts"
    ),
    # search
    "search: no sentence": Case("search -m base pictures/ _", 2, "SENTENCE is empty"),
    "search: no such folder": Case("search -m base gone/ a_dog", 65, "WHERE.uri: nothing is stored at"),
    "search: no such vectors": Case("search -m base gone.npy a_dog", 65, "WHERE.uri: nothing is stored at"),
    "search: none to name": Case("search -m base pictures/ a_dog --top 0", 2, "--top"),
    "search: vectors of another width": Case(
        "search -m base v.npy a_dog",
        65,
        "64 numbers each, not by",
        lambda f: vectors(f / "v.npy", digest="0", width=64),
    ),
    "search: vectors of another model": Case(
        "search -m base v.parquet a_dog", 65, "made by another model", lambda f: vectors(f / "v.parquet", digest="0")
    ),
    "search: vectors of texts": Case(
        "search -m base v.npy a_dog", 65, "vectors of texts", lambda f: vectors(f / "v.npy", "texts")
    ),
    "search: fewer names than vectors": Case(
        "search -m base v.npy a_dog", 65, "for each of 1 ids", lambda f: vectors(f / "v.npy", names=1)
    ),
    "search: vectors without names": Case("search -m base v.npy a_dog", 65, "v.npy lacks v.ids.json", bare_npy),
    "search: vectors that hold code": Case("search -m base v.npy a_dog", 65, "holds no vectors", pickled),
    "search: vectors of another version": Case("search -m base v.npy a_dog", 65, "holds no vectors", other_version),
    "search: a table of somebody else": Case(
        "search -m base v.parquet a_dog", 65, "nothing says which model made it", foreign_parquet
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_mistake_ends_with_a_sentence_and_its_code(
    finetune: Command, folder: Path, tmp_path: Path, case: Case
) -> None:
    here = tmp_path / "here"
    shutil.copytree(folder, here)
    case.spoil(here)
    ended = finetune(here, *(word.replace("_", " ") for word in case.line.split()))
    assert ended.code == case.code, ended.err
    assert case.told in ended.err
    assert "Traceback" not in ended.err
    assert "bug" not in ended.err
    assert ended.out == ""
    if case.line.startswith("encode"):
        assert not (here / "v.npy").exists()
