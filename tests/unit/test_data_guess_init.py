"""What `finetune init` writes of splits, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_sdk.runfile import load_run
from tests.support.command import Command
from tests.support.picture_formats import write_jsonl
from tests.support.pictures import Picture, make_pictures, write_folder, write_table
from tests.support.preparing import prepared

SPLITS = ["test"] * 4 + ["train"] * 3 + ["restval"] * 3 + ["val"] * 2


def _folders(folder: Path, pictures: list[Picture]) -> Path:
    for name in dict.fromkeys(SPLITS):
        write_folder(folder / name, [p for p, split in zip(pictures, SPLITS, strict=True) if split == name])
    return folder


FOLLOWED: dict[str, Callable[[Path, list[Picture]], Path]] = {
    "a column": lambda folder, pictures: write_table(folder / "a.csv", pictures, split=SPLITS),
    "folders": lambda folder, pictures: _folders(folder / "set", pictures),
}


@pytest.mark.parametrize("write", FOLLOWED.values(), ids=FOLLOWED)
def test_two_names_of_a_split_are_both_used(
    finetune: Command, tmp_path: Path, write: Callable[[Path, list[Picture]], Path]
) -> None:
    ended = finetune(tmp_path, "init", "-d", write(tmp_path, make_pictures(tmp_path / "pictures", 12)))
    assert (ended.code, ended.err) == (0, "")
    assert "source:  # split as columns.split says" in (tmp_path / "run.yaml").read_text()
    dataset = prepared(load_run(tmp_path / "run.yaml").spec.data, tmp_path)
    assert [len(split.images) for split in (dataset.train, dataset.validation, dataset.test)] == [6, 2, 4]


def test_what_is_left_out_is_said_in_the_file_and_at_once(finetune: Command, tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 12)
    write_jsonl(tmp_path / "a.jsonl", pictures, split=["extra", *SPLITS[1:]])
    ended = finetune(tmp_path, "init", "-d", "a.jsonl")
    told = '"extra" is none of train, validation and test, and is left out: rename it'
    assert ended.code == 0
    assert told in ended.err
    assert f"    # {told}" in (tmp_path / "run.yaml").read_text()
    assert '    # "restval" means train as "train" does, and is left out' in (tmp_path / "run.yaml").read_text()
    load_run(tmp_path / "run.yaml")


def test_data_without_a_caption_writes_nothing(finetune: Command, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,caption\na.jpg,\nb.jpg,\n")
    ended = finetune(tmp_path, "init", "-d", "a.csv")
    assert ended.code == 65
    assert "a.csv:2: empty-caption" in ended.err
    assert not (tmp_path / "run.yaml").exists()
