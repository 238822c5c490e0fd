"""`finetune evaluate -f`: the k of the file, and those that are typed in their place."""

import json
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.models import tiny_open_clip_dir
from tests.support.pictures import make_pictures, write_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, eight pictures and a run that measures at 2 and 3."""
    made = tmp_path_factory.mktemp("evaluated")
    tiny_open_clip_dir(made / "base")
    write_table(made / "captions.csv", make_pictures(made / "pictures", 8))
    written(made / "run.yaml", "{recallAt: [3, 2]}")
    written(made / "nothing.yaml", "{}")
    written(made / "many.yaml", "{recallAt: [2, 50]}")
    return made


def written(path: Path, evaluation: str) -> None:
    path.write_text(
        "{apiVersion: finetune.dev/v1alpha1, kind: FinetuneRun, metadata: {name: r}, spec: {model: {weights: {uri: "
        "base}}, data: {train: {uri: captions.csv}, test: {uri: captions.csv}}, output: {uri: out}, "
        f"evaluation: {evaluation}}}}}"
    )


ASKED = {
    "the file's": ("-f run.yaml", {2, 3}),
    "typed": ("-f run.yaml -k 1", {1}),
    "the file's, on other data": ("-f run.yaml -d captions.csv", {2, 3}),
    "none in the file": ("-f nothing.yaml", {1, 5}),
    "none at all": ("-m base -d captions.csv", {1, 5}),
}


@pytest.mark.parametrize(("line", "ks"), ASKED.values(), ids=ASKED)
def test_recall_is_measured_at_the_k_that_were_asked_for(
    finetune: Command, folder: Path, line: str, ks: set[int], tmp_path: Path
) -> None:
    ended = finetune(folder, "evaluate", *line.split(), "-o", tmp_path / "one.json")
    assert ended.code == 0, ended.err
    metrics = json.loads((tmp_path / "one.json").read_bytes())["metrics"]
    assert {int(name.rpartition("@")[2]) for name in metrics} == ks


def test_a_k_of_the_file_is_told_by_the_files_name_for_it(finetune: Command, folder: Path) -> None:
    ended = finetune(folder, "evaluate", "-f", "many.yaml")
    assert ended.code == 64
    assert "evaluation.recallAt: 50 is above the number of candidates, 8 test pictures: write at most 8" in ended.err
