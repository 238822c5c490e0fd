"""Pictures and texts as vectors, the files that hold them, and what is found by them."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from torch import Tensor

from finetune_sdk.errors import DataInvalid, WeightsInvalid
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.bare import open_pictures, read_texts
from finetune_trainer.data.readers import Rows, Where
from finetune_trainer.data.types import Row
from finetune_trainer.evaluation.encode import encode_images, encode_texts
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.pipeline.encode import encode_lines, encode_pictures
from finetune_trainer.pipeline.search import nearest
from finetune_trainer.pipeline.vectors import Vectors, ids_path, read_vectors, write_vectors
from finetune_trainer.progress import Progress, Silent
from tests.support.models import tiny_model
from tests.support.pictures import Picture, make_pictures, write_table
from tests.support.preparing import source
from tests.support.splits import split_of
from tests.support.worlds import Notes

CPU = torch.device("cpu")
MANY = 70
"""More than a batch."""


@pytest.fixture(scope="module")
def model() -> ClipModel:
    return tiny_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 pictures, the last ten in a folder of their own, a text beside them and a table above."""
    made = tmp_path_factory.mktemp("encoded")
    first = make_pictures(made / "pictures", MANY - 10, size=(48, 36))
    rest = make_pictures(made / "pictures/z", 10, size=(48, 36), seed=1)
    (made / "pictures/notes.md").write_text("no picture")
    write_table(made / "captions.csv", [*first, *rest], split=["train"] * (MANY - 2) + ["test"] * 2)
    return made


def pictures_of(folder: Path) -> list[Picture]:
    """In the order in which they are encoded."""
    paths = [*sorted((folder / "pictures").glob("*.jpg")), *sorted((folder / "pictures/z").glob("*.jpg"))]
    return [Picture(path, ("a picture",)) for path in paths]


def encoded(model: ClipModel, path: Path, shown: str, progress: Progress | None = None, **values: object) -> Vectors:
    rows = open_pictures("SOURCE", source(path, **values), shown, open_store)
    return encode_pictures(model, rows, "SOURCE", device=CPU, progress=progress or Silent())


@pytest.fixture(scope="module")
def vectors(model: ClipModel, folder: Path) -> Vectors:
    return encoded(model, folder / "pictures", "pictures/")


def test_a_folders_pictures_have_the_vectors_of_the_evaluation(
    model: ClipModel, folder: Path, vectors: Vectors, tmp_path: Path
) -> None:
    split = split_of(pictures_of(folder), model.preprocess, tmp_path / "cache")
    expected = encode_images(model, split, device=CPU, progress=Silent()).numpy()
    assert vectors.ids == [str(picture.path.relative_to(folder)) for picture in pictures_of(folder)]
    assert vectors.rows.dtype == np.float32
    assert np.array_equal(vectors.rows, expected)
    assert np.allclose(np.linalg.norm(vectors.rows, axis=1), 1, atol=1e-6)
    assert (vectors.origin.kind, vectors.origin.weights_digest) == ("pictures", model.digest)


def test_one_picture_and_the_rows_of_a_table(model: ClipModel, folder: Path, vectors: Vectors) -> None:
    one = encoded(model, folder / "pictures/picture-00003.jpg", "here/picture-00003.jpg")
    assert one.ids == ["here/picture-00003.jpg"]
    assert np.allclose(one.rows[0], vectors.rows[3], atol=1e-6)
    some = encoded(model, folder / "captions.csv", "captions.csv", where={"split": "test"})
    assert some.ids == ["pictures/z/picture-00008.jpg", "pictures/z/picture-00009.jpg"]
    assert np.allclose(some.rows, vectors.rows[-2:], atol=1e-6)


def with_broken(folder: Path, good: int, broken: int) -> Path:
    pictures = folder / "pictures"
    make_pictures(pictures, good, size=(24, 18))
    for index in range(broken):
        (pictures / f"broken-{index}.jpg").write_bytes(b"\xff\xd8\xff no jpeg")
    return pictures


def test_a_broken_picture_in_a_hundred_is_named_and_left_out(model: ClipModel, tmp_path: Path) -> None:
    told = Notes()
    made = encoded(model, with_broken(tmp_path, 100, 1), "p", told)
    assert len(made.ids) == len(made.rows) == 100
    assert told.notes[0] == "1 of 101 are left out"
    assert told.notes[1].startswith("broken-0.jpg: not-an-image: ")


def test_more_are_refused_before_all_are_read(model: ClipModel) -> None:
    read: list[int] = []

    def row(index: int) -> Row:
        def load() -> bytes:
            read.append(index)
            return b"no picture"

        return Row(f"{index}.jpg", f"{index}.jpg", (), load)

    rows = Rows(lambda: map(row, range(1000)), 1000, "", Where({}))
    with pytest.raises(DataInvalid, match=r"SOURCE: 11 of 11 rows cannot be used(?s:.*)0\.jpg: not-an-image"):
        encode_pictures(model, rows, "SOURCE", device=CPU, progress=Silent())
    assert len(read) < 500


def test_weights_that_give_nan_are_refused(folder: Path) -> None:
    broken = tiny_model()
    torch.nn.init.constant_(broken.module.visual.proj, torch.nan)  # type: ignore[arg-type, union-attr]
    with pytest.raises(WeightsInvalid, match="NaN or infinity"):
        encoded(broken, folder / "pictures/z", "z")


TEXTS = ["a red circle", "two words, with a comma", "a\u2028line and 'quotes'"]


def lines(path: Path) -> None:
    path.write_bytes("\ufeff{}\r\n{}\n{}\n\n".format(*TEXTS).encode())


def table(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["n", "text"], *([str(n), text] for n, text in enumerate(TEXTS))])


def objects(path: Path) -> None:
    rows = [{"n": 1, "text": TEXTS[:2]}, {"n": 2, "text": TEXTS[2]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def columns(path: Path) -> None:
    parquet.write_table(pa.table({"text": TEXTS, "n": [1, 2, 3]}), path)


@pytest.mark.parametrize("column", ["text", None])
@pytest.mark.parametrize(
    ("name", "write"), {"q.txt": lines, "q.csv": table, "q.jsonl": objects, "q.parquet": columns}.items()
)
def test_texts_from_lines_and_columns(
    model: ClipModel, tmp_path: Path, name: str, write: Callable[[Path], None], column: str | None
) -> None:
    write(tmp_path / name)
    if name == "q.txt":
        column = None
    read = read_texts("SOURCE", path_to_uri(tmp_path / name), column, open_store)
    made = encode_lines(model, read, "SOURCE", device=CPU, progress=Silent())
    one_line = [" ".join(text.splitlines()) for text in TEXTS]
    assert made.ids == one_line
    assert made.origin.kind == "texts"
    with torch.no_grad():
        expected = model.module.encode_text(model.tokenize(one_line))  # type: ignore[operator]
    assert np.allclose(made.rows, torch.nn.functional.normalize(expected, dim=-1).numpy(), atol=1e-6)


def test_a_caption_has_the_vector_of_the_evaluation_and_cut_texts_are_counted(
    model: ClipModel, folder: Path, tmp_path: Path
) -> None:
    pictures = [replace(picture, captions=("a blue bar on sand",)) for picture in pictures_of(folder)[:2]]
    expected = encode_texts(model, split_of(pictures, model.preprocess, tmp_path), device=CPU, progress=Silent())
    (tmp_path / "q.txt").write_text("a blue bar on sand\n" + "word " * 40)
    told = Notes()
    read = read_texts("SOURCE", path_to_uri(tmp_path / "q.txt"), None, open_store)
    made = encode_lines(model, read, "SOURCE", device=CPU, progress=told)
    assert np.allclose(made.rows[0], expected[0].numpy(), atol=1e-6)
    assert told.notes == ["1 text longer than the model's 24 tokens, and cut there"]


def test_a_long_text_is_tokenized_whole_only_once(model: ClipModel, tmp_path: Path) -> None:
    """And once without its last word, by which it is told whether it was cut: half of a long file's time."""
    met: Counter[str] = Counter()

    def tokenize(texts: list[str]) -> Tensor:
        met.update(texts)
        return model.tokenize(texts)

    long = [f"{number} " + "word " * 40 for number in range(3)]
    (tmp_path / "q.txt").write_text("\n".join([*long, "a short one"]))
    read = read_texts("SOURCE", path_to_uri(tmp_path / "q.txt"), None, open_store)
    told = Notes()
    made = encode_lines(replace(model, tokenize=tokenize), read, "SOURCE", device=CPU, progress=told)
    assert told.notes == ["3 texts longer than the model's 24 tokens, and cut there"]
    assert [met[text] for text in (*made.ids, *(text.removesuffix(" word") for text in made.ids[:3]))] == [1] * 7


def test_numpy_reads_the_npy_and_json_the_names(vectors: Vectors, tmp_path: Path) -> None:
    write_vectors(vectors, tmp_path / "made/v.npy")
    assert np.array_equal(np.load(tmp_path / "made/v.npy"), vectors.rows)
    beside = json.loads((tmp_path / "made/v.ids.json").read_bytes())
    assert beside["ids"] == vectors.ids
    assert beside["weightsDigest"] == vectors.origin.weights_digest
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"v.npy", "v.ids.json"}


def test_arrow_reads_the_parquet(vectors: Vectors, tmp_path: Path) -> None:
    write_vectors(vectors, tmp_path / "v.parquet")
    found = parquet.read_table(tmp_path / "v.parquet")
    assert found.schema.field("vector").type == pa.list_(pa.float32(), 32)
    assert found.column("id").to_pylist() == vectors.ids
    assert np.array_equal(np.array(found.column("vector").to_pylist(), np.float32), vectors.rows)


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_what_was_written_is_read_again(vectors: Vectors, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"v.{ending}"
    write_vectors(replace(vectors, ids=vectors.ids[::-1]), path)
    write_vectors(vectors, path)
    again = read_vectors("WHERE", path_to_uri(path), open_store)
    assert again.ids == vectors.ids
    assert np.array_equal(again.rows, vectors.rows)
    assert again.origin.model_dump().items() >= vectors.origin.model_dump().items()


def test_new_vectors_never_lie_beside_old_names(
    vectors: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.npy"
    write_vectors(vectors, path)

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_vectors(vectors, path)
    assert not ids_path(path).exists()


def test_the_nearest_are_those_of_all_products_and_equal_ones_keep_their_order(vectors: Vectors) -> None:
    query = vectors.rows[5]
    twice = replace(vectors, ids=[*vectors.ids, "again"], rows=np.concatenate([vectors.rows, query[None]]))
    found = nearest(twice, query, 4)
    scores = {name: float(row @ query) for name, row in zip(twice.ids, twice.rows, strict=True)}
    assert [match.id for match in found[:2]] == [vectors.ids[5], "again"]
    assert [match.id for match in found] == sorted(scores, key=lambda name: -scores[name])[:4]
    assert [match.similarity for match in found] == pytest.approx([scores[match.id] for match in found], abs=1e-6)
    assert len(nearest(twice, query, 1000)) == MANY + 1
