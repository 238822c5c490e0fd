"""Whole runs on a GPU: each kind of model, in each number format, killed and gone on with to the same bits."""

import signal
from pathlib import Path
from typing import Any

import pytest

from finetune_sdk.runfile import load_run
from tests.support.models import KINDS, Kind
from tests.support.runs import (
    digests,
    finetune,
    has_step,
    make_run,
    outcome,
    saved_each_step,
    start_finetune,
    wait_until,
)
from tests.support.supervised import supervised

STEPS = 8
SPEC = saved_each_step(STEPS)
CASES: dict[str, tuple[Kind, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in KINDS},
    "in float32": ("clip", {"precision": "fp32"}),
    "in float16": ("clip", {"precision": "fp16"}),
    "in micro-batches": ("clip", {"microBatchSize": 4}),
    "with LoRA": ("clip", {"lora": {"rank": 4}}),
}


@pytest.mark.parametrize(("kind", "training"), CASES.values(), ids=CASES)
def test_killed_it_ends_with_the_same_bits(tmp_path: Path, kind: Kind, training: dict[str, Any]) -> None:
    spec = {**SPEC, "training": {**SPEC["training"], **training}}
    run = make_run(tmp_path, kind=kind, name="killed", **spec)
    undisturbed = make_run(tmp_path, kind=kind, name="undisturbed", **spec)
    ended = finetune(tmp_path, "run", "-f", undisturbed)
    assert ended.returncode == 0, ended.stderr
    assert "device cuda" in ended.stderr
    output = tmp_path / "output-killed"
    process = start_finetune(tmp_path, "run", "-f", run)
    wait_until(has_step(output, 3), process, "step 3")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    again = finetune(tmp_path, "run", "-f", run)
    assert again.returncode == 0, again.stderr
    assert digests(output) == digests(tmp_path / "output-undisturbed")
    assert outcome(output)["steps"] == STEPS


def test_a_pod_that_ordered_a_gpu_trains_on_it(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path, **SPEC, compute={"gpusPerNode": 1}))
    with supervised(tmp_path / "pod", run, env={"FINETUNE_DEVICE": ""}) as pod:
        ended = pod.end()
    assert (ended.code, ended.said.step) == (0, STEPS), ended.said
