"""The number is the one that CLIP Benchmark's own command prints for the same model and pictures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from finetune_trainer.evaluation.measure import measure
from finetune_trainer.progress import Silent
from finetune_trainer.records import Recalls
from tests.support.models import Kind, tiny_model, tiny_open_clip_dir
from tests.support.pictures import Picture, make_pictures, write_webdataset
from tests.support.splits import split_of

KS = (1, 5, 10)


def clip_benchmark(model: Path, pictures: list[Picture], folder: Path) -> Recalls:
    """Run `clip_benchmark eval --no_amp` as a user would, in a process of its own."""
    write_webdataset(folder / "shards" / "test", pictures)
    (folder / "shards" / "dataset_type.txt").write_text("retrieval\n")
    command = [sys.executable, "-m", "clip_benchmark.cli", "eval", "--model", f"local-dir:{model}", "--pretrained", ""]
    command += ["--dataset", "wds/test", "--dataset_root", str(folder / "shards"), "--task", "zeroshot_retrieval"]
    command += ["--no_amp", "--num_workers", "0", "--recall_k", *map(str, KS), "--output", str(folder / "figures.json")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run(command, check=True, cwd=model, env=environment, capture_output=True, timeout=300)
    metrics: Recalls = json.loads((folder / "figures.json").read_text())["metrics"]
    return metrics


@pytest.mark.parametrize("kind", ["clip", "composed"])
def test_figures_equal_those_of_clip_benchmarks_command(kind: Kind, tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 150, captions_per_image=3)
    model = tiny_model(kind, folder=tmp_path)
    split = split_of(pictures, model.preprocess, tmp_path / "cache")
    found = measure(model, split, KS, device=torch.device("cpu"), progress=Silent(), stage="baseline")
    theirs = clip_benchmark(tiny_open_clip_dir(tmp_path / "model", kind), pictures, tmp_path)
    assert found.evaluation.metrics == theirs
