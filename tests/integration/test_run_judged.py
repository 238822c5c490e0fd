"""What a run concludes: no gain from nonsense, and a gate that is judged last, from stored figures."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.command import Command
from tests.support.models import tiny_open_clip_dir
from tests.support.runs import make_run, outcome

IMPOSSIBLE = {"gate": {"minGain": 0.9}}


def shuffle_captions(folder: Path) -> None:
    """Give every training picture the captions of another: there is nothing to learn."""
    with (folder / "captions.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    train = [index for index, row in enumerate(rows) if row[2] == "train"]
    captions = [rows[index][1] for index in train]
    for index, place in zip(train, np.random.default_rng(0).permutation(len(train)), strict=True):
        rows[index][1] = captions[place]
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def shuffled_run(folder: Path, **spec: Any) -> Path:
    run = make_run(folder, images=180, **spec)
    shuffle_captions(folder)
    return run


def test_shuffled_captions_end_with_the_base_and_no_gain(finetune: Command, tmp_path: Path) -> None:
    ended = finetune(tmp_path, "run", "-f", shuffled_run(tmp_path))
    result = outcome(tmp_path / "output-run")
    assert ended.code == 0, ended.err
    assert result["verdict"] == "NoGain"
    assert result["selection"]["chosen"]["alpha"] == 0
    assert all(change["gain"] == 0 for change in result["changes"].values())
    assert "No gain" in ended.out


def test_shuffled_captions_miss_a_gate_and_leave_their_report(finetune: Command, tmp_path: Path) -> None:
    run = shuffled_run(tmp_path, evaluation={"gate": {"minGain": 0.01}})
    ended = finetune(tmp_path, "run", "-f", run)
    assert ended.code == 80
    assert "minGain asks for +1.0 points" in ended.err
    assert outcome(tmp_path / "output-run")["verdict"] == "NoGain"
    assert "Gate not met" in (tmp_path / "output-run/report.html").read_text(encoding="utf-8")


def test_another_gate_judges_the_stored_figures_again(finetune: Command, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert finetune(tmp_path, "run", "-f", run).code == 0
    figures = (tmp_path / "output-run/result.json").read_bytes()
    document = json.loads(run.read_text())
    document["spec"]["evaluation"] = IMPOSSIBLE
    run.write_text(json.dumps(document))
    ended = finetune(tmp_path, "run", "-f", run)
    assert ended.code == 80
    assert "minGain asks for +90.0 points" in ended.err
    assert (tmp_path / "output-run/result.json").read_bytes() == figures


def test_a_k_that_was_not_written_is_dropped_with_a_note(finetune: Command, tmp_path: Path) -> None:
    run = make_run(tmp_path, images=24, training={"steps": 2, "batchSize": 8})
    ended = finetune(tmp_path, "run", "-f", run)
    assert ended.code == 0, ended.err
    assert "Recall at 10 is left out: there are only 8 pictures to choose from." in ended.err
    assert "image_retrieval_recall@10" not in outcome(tmp_path / "output-run")["changes"]


def stopped_before_its_end(finetune: Command, folder: Path) -> Path:
    """A run whose result was taken away, so that it has to go on."""
    run = make_run(folder, images=36, training={"steps": 2, "batchSize": 8})
    assert finetune(folder, "run", "-f", run).code == 0
    (folder / "output-run/result.json").unlink()
    return run


def test_data_that_changed_under_a_run_is_refused(finetune: Command, tmp_path: Path) -> None:
    run = stopped_before_its_end(finetune, tmp_path)
    table = tmp_path / "captions.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-2]))
    ended = finetune(tmp_path, "run", "-f", run)
    assert ended.code == 65
    assert "the test data changed since this run began: 12 images and 24 captions then, 11 and 22 now" in ended.err


def test_base_weights_that_changed_under_a_run_are_refused(finetune: Command, tmp_path: Path) -> None:
    run = stopped_before_its_end(finetune, tmp_path)
    tiny_open_clip_dir(tmp_path / "base", seed=7)
    ended = finetune(tmp_path, "run", "-f", run)
    assert ended.code == 65
    assert "changed since this run began" in ended.err
