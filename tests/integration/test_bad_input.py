"""What a user gets for a mistake: `finetune run` in front of every kind of bad input, by message and exit code.

The parts have longer tables of their own (test_runfile, test_prepare, test_model_load, test_storage_faults); this one
holds that each kind reaches the user as a sentence, with the code that scripts and the operator rely on.
"""

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.support.command import Command
from tests.support.pictures import add_member, encode
from tests.support.runs import make_run

Spoil = Callable[[Path], object]
"""Does the mischief in a folder that holds run.yaml, captions.csv, pictures/ and base/."""


@dataclass(frozen=True)
class Case:
    """A mistake, and what the user is told."""

    spoil: Spoil
    code: int
    told: str


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nothing is wrong yet: 36 pictures, of which 12 are for the test."""
    folder = tmp_path_factory.mktemp("sound")
    make_run(folder, images=36, training={"steps": 1, "batchSize": 4})
    return folder


def setting(path: str, value: Any) -> Spoil:
    """Put `value` at a dotted path of the document."""

    def spoil(folder: Path) -> None:
        document = json.loads((folder / "run.yaml").read_text())
        *parents, last = path.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
        (folder / "run.yaml").write_text(json.dumps(document, indent=2))

    return spoil


def text(content: str) -> Spoil:
    return lambda folder: (folder / "run.yaml").write_text(content)


def table(change: Callable[[list[str]], list[str]], encoding: str = "utf-8") -> Spoil:
    """Rewrite captions.csv line by line."""

    def spoil(folder: Path) -> None:
        path = folder / "captions.csv"
        lines = change(path.read_text(encoding="utf-8").splitlines())
        path.write_bytes("\n".join([*lines, ""]).encode(encoding))

    return spoil


def picture(content: bytes) -> Spoil:
    """Replace a training picture."""
    return lambda folder: (folder / "pictures/picture-00000.jpg").write_bytes(content)


def weights(change: Callable[[Path], None]) -> Spoil:
    """Spoil base/open_clip_model.safetensors."""
    return lambda folder: change(folder / "base/open_clip_model.safetensors")


def without_tensor(path: Path) -> None:
    tensors = load_file(path)
    del tensors["visual.proj"]
    save_file(tensors, path)


def other_width(path: Path) -> None:
    save_file(load_file(path) | {"visual.proj": torch.zeros(3, 3)}, path)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


class Evil:
    """Pickled, it would run a command when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("loaded",))


def pickled(folder: Path) -> None:
    torch.save({"state_dict": Evil()}, folder / "evil.pt")
    setting("spec.model", {"name": "ViT-B-32", "weights": {"uri": "evil.pt"}})(folder)


def numpy_weights(folder: Path) -> None:
    (folder / "weights.npz").write_bytes(b"PK")
    setting("spec.model", {"name": "ViT-B-32", "weights": {"uri": "weights.npz"}})(folder)


def escaping_archive(folder: Path) -> None:
    jpeg = (folder / "pictures/picture-00000.jpg").read_bytes()
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for name in ("../outside", "inside"):
            add_member(tar, f"{name}.jpg", jpeg)
            add_member(tar, f"{name}.txt", b"a picture")
    setting("spec.data.train", {"uri": "shard.tar"})(folder)


def other_spec_in_output(folder: Path) -> None:
    (folder / "output-run").mkdir()
    record = {
        "version": 1,
        "run": "another",
        "digest": "v1:0",
        "spec": {"model": {"weights": {"uri": "file:///base"}}, "data": {"source": {"uri": "file:///d"}}}
        | {"output": {"uri": "file:///o"}},
        "resolved": {},
        "versions": {},
        "hardware": {"device": "cpu", "deviceName": "x", "cpus": 1, "threads": 1, "memoryBytes": 1},
        "startedAt": "2026-01-01T00:00:00Z",
    }
    (folder / "output-run/run.json").write_text(json.dumps(record))


def stranger_in_output(folder: Path) -> None:
    (folder / "output-run").mkdir()
    (folder / "output-run/thesis.docx").write_bytes(b"")


CASES = {
    # The file
    "there is no such file": Case(lambda folder: (folder / "run.yaml").unlink(), 2, "run.yaml"),
    "not YAML": Case(text("spec: [1, 2"), 64, "run.yaml:1"),
    "empty": Case(text(""), 64, "run.yaml"),
    "a key written twice": Case(text("kind: FinetuneRun\nkind: FinetuneRun\n"), 64, "run.yaml:2"),
    # The spec
    "an unknown key": Case(setting("spec.training.batchsize", 8), 64, "did you mean batchSize?"),
    "a wrong type": Case(setting("spec.training.steps", "many"), 64, "spec.training.steps"),
    "out of range": Case(setting("spec.data.maxBadFraction", 1.5), 64, "spec.data.maxBadFraction"),
    "tag and uri": Case(setting("spec.model.weights.tag", "openai"), 64, "exactly one of"),
    "no weights": Case(setting("spec.model", {"name": "ViT-B-32"}), 64, "spec.model"),
    "epochs and steps": Case(setting("spec.training.epochs", 3), 64, "at most one of"),
    "a headline that is not measured": Case(
        setting("spec.evaluation", {"recallAt": [1, 10], "metric": "image_retrieval_recall@5"}), 64, "recallAt"
    ),
    "k above the number of candidates": Case(
        setting("spec.evaluation", {"recallAt": [1, 50]}), 64, "50 is above the number of candidates, 12 test pictures"
    ),
    "a batch larger than the data": Case(setting("spec.training.batchSize", 500), 64, "500 pairs, but only"),
    "more frozen blocks than there are": Case(
        setting("spec.training.freeze", {"image": {"blocks": 9}}), 64, "use at most 2, or all: true"
    ),
    "a file of another format": Case(setting("spec.data.train.format", "parquet"), 65, "is no Parquet file"),
    "a scheme that is not read": Case(setting("spec.data.train.uri", "http://x/a.csv"), 64, "http"),
    "QuickGELU mismatch": Case(
        setting("spec.model", {"name": "ViT-B-32", "weights": {"tag": "openai"}}), 64, "ViT-B-32-quickgelu"
    ),
    "an unknown architecture": Case(
        setting("spec.model", {"name": "ViT-B-23", "weights": {"random": {}}}), 64, "ViT-B-32"
    ),
    "everything frozen": Case(
        setting("spec.training.freeze", {"image": {"all": True}, "text": {"all": True}}), 64, "freeze one tower only"
    ),
    # The data
    "the table is missing": Case(lambda folder: (folder / "captions.csv").unlink(), 65, "captions.csv"),
    "a column is missing": Case(table(lambda lines: ["picture_file,words,split", *lines[1:]]), 65, "picture_file"),
    "no row fits `where`": Case(setting("spec.data.test.where", {"split": "tset"}), 65, "tset"),
    "a broken picture": Case(picture(b"\xff\xd8\xff no jpeg"), 65, "captions.csv:2"),
    "an empty picture": Case(picture(b""), 65, "captions.csv:2"),
    "a huge picture": Case(picture(encode(Image.new("1", (40_000, 9_000)))), 65, "captions.csv:2"),
    "a picture is missing": Case(lambda folder: (folder / "pictures/picture-00000.jpg").unlink(), 65, "picture-00000"),
    "an empty caption": Case(
        table(lambda lines: [lines[0], *(f"{line.split(',')[0]},,train" for line in lines[1:])]), 65, "caption"
    ),
    "no UTF-8": Case(table(lambda lines: [*lines, "pictures/picture-00000.jpg,caf\xe9,train"], "latin-1"), 65, "UTF-8"),
    "an archive's member leaves its folder": Case(escaping_archive, 65, "../outside"),
    # The weights
    "nothing there": Case(setting("spec.model.weights.uri", "nowhere/"), 65, "nowhere"),
    "truncated weights": Case(weights(truncated), 65, "open_clip_model.safetensors"),
    "a tensor is missing": Case(weights(without_tensor), 65, "visual.proj"),
    "weights of another architecture": Case(weights(other_width), 65, "visual.proj"),
    "a pickle that holds code": Case(pickled, 65, "evil.pt"),
    "NumPy weights": Case(numpy_weights, 65, "weights.npz"),
    "a tag that cannot be fetched": Case(
        setting("spec.model", {"name": "ViT-B-32", "weights": {"tag": "laion2b_s34b_b79k"}}), 69, "laion2b_s34b_b79k"
    ),
    # The output
    "the output holds another run": Case(other_spec_in_output, 78, "holds run 'another' with another spec"),
    "the output holds something else": Case(stranger_in_output, 78, "thesis.docx"),
    "the output is a file": Case(lambda folder: (folder / "output-run").write_text(""), 64, "output.uri"),
    "the GPU is not there": Case(lambda _folder: None, 76, "FINETUNE_DEVICE=cuda"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_mistake_ends_with_a_sentence_and_its_code(
    finetune: Command, tmp_path: Path, sound: Path, case: Case, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    case.spoil(folder)
    device = "cuda" if "GPU" in request.node.name else "cpu"
    ended = finetune(folder, "run", "-f", "run.yaml", FINETUNE_DEVICE=device)
    assert ended.code == case.code, ended.err
    assert case.told in ended.err
    assert "Traceback" not in ended.err
    assert "bug" not in ended.err
    assert ended.out == ""
