"""A GPU most of whose memory somebody else holds (T20): what fits is found before the first step, or said not to."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import finetune, make_run, outcome

GIB = 1 << 30
NEIGHBOUR = """
import sys, torch
torch.zeros(1, device="cuda")
free, _ = torch.cuda.mem_get_info()
held = torch.empty(free - int(sys.argv[1]), dtype=torch.uint8, device="cuda")
print("holds", flush=True)
sys.stdin.read()
"""
MODEL = {"name": "ViT-B-32", "weights": {"random": {}}}
TRAINING: dict[str, Any] = {"steps": 3, "batchSize": 64, "earlyStopping": {"patience": 0}}
"""Its weights, gradients and averages take 2.4 GB, the activations of 64 pairs almost as much again."""


@contextmanager
def a_neighbour(left: int) -> Iterator[None]:
    """Another process that leaves `left` bytes of the GPU."""
    with subprocess.Popen(
        [sys.executable, "-c", NEIGHBOUR, str(left)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield
        process.stdin.close()


def test_a_smaller_micro_batch_is_found_and_the_run_ends_well(tmp_path: Path) -> None:
    run = make_run(tmp_path, model=MODEL, training=TRAINING)
    with a_neighbour(int(3.8 * GIB)):
        ended = finetune(tmp_path, "run", "-f", run)
    assert ended.returncode == 0, ended.stderr
    assert "the largest that fits cuda" in ended.stderr
    assert outcome(tmp_path / "output-run")["steps"] == 3


@pytest.mark.parametrize("left", [2.8, 1.5, 0.7, 0.2, 0.02], ids="{} GiB".format)
def test_what_does_not_fit_says_what_would_help(tmp_path: Path, left: float) -> None:
    """Beside the optimizer, beside the model, and not even the model."""
    run = make_run(tmp_path, model=MODEL, training=TRAINING)
    with a_neighbour(int(left * GIB)):
        ended = finetune(tmp_path, "run", "-f", run)
    print(ended.stderr[-2000:])
    assert ended.returncode == 79, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "smaller model" in ended.stderr
