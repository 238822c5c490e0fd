"""P7: how long `finetune run` takes from exec to its first step, beyond what no program could leave out.

    OMP_NUM_THREADS=2 python benchmarks/startup.py [--quick]

A run of ViT-B-32 is killed once it trains, which leaves the caches warm and the baseline measured. Started again, the
seconds from exec until training begins are taken, in turn with a bare process that imports open_clip and loads the same
weights by `local-dir:`. The goal is on the difference. `finetune --help` is timed beside it.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
from PIL import Image

from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.save import write_model
from support import TRIALS, arguments, describe_machine, finish, seconds, spread

GOAL_S = 2.0
"""Seconds beyond the bare process."""
HELP_GOAL_S = 0.3
N_PICTURES = 128
TINY: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
FINETUNE = [sys.executable, "-m", "finetune_sdk"]
BARE = "import open_clip, sys; open_clip.create_model_and_transforms('local-dir:' + sys.argv[1])"


def make_run(folder: Path, *, quick: bool) -> Path:
    """Weights, pictures and a run.yaml in `folder`."""
    config = TINY if quick else open_clip.get_model_config("ViT-B-32")
    write_model(assemble(config, {}, name="ViT-B-32", source="random", files=None), None, folder / "base")
    draw = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for number in range(N_PICTURES):
        noise = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        noise.resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"pictures/{number:03d}.jpg")
        (folder / f"pictures/{number:03d}.txt").write_text(f"a noisy picture, number {number}")
    run = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FinetuneRun",
        "metadata": {"name": "startup"},
        "spec": {
            "model": {"weights": {"uri": "base/"}},
            "data": {"source": {"uri": "pictures/"}},
            "training": {"steps": 1000, "batchSize": 8},
            "evaluation": {"recallAt": [1, 5]},
            "output": {"uri": "output/"},
        },
    }
    (folder / "run.yaml").write_text(json.dumps(run))
    return folder / "run.yaml"


def until_training(run: Path) -> float:
    """Seconds from exec until training begins; the process is killed there, before it saves anything."""
    environment = {**os.environ, "FINETUNE_CACHE": str(run.parent / "cache"), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [*FINETUNE, "run", "-f", str(run)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    told = []
    assert process.stderr is not None
    for line in process.stderr:
        told.append(line)
        if line.startswith("train  started"):
            taken = time.perf_counter() - start
            process.kill()
            process.wait()
            return taken
    sys.exit(f"the run ended before it trained:\n{''.join(told)}")


def bare(folder: Path) -> float:
    """Seconds of a process that imports open_clip and loads the weights."""
    return seconds(lambda: subprocess.run([sys.executable, "-c", BARE, str(folder / "base")], check=True))


def main() -> None:
    quick = arguments(__doc__ or "").quick
    folder = Path(tempfile.mkdtemp(prefix="finetune-startup-"))
    try:
        run = make_run(folder, quick=quick)
        until_training(run)
        pairs = [(until_training(run), bare(folder)) for _ in range(2 if quick else TRIALS)]
        helps = [seconds(lambda: subprocess.run([*FINETUNE, "--help"], check=True, stdout=subprocess.DEVNULL))]
        helps += [seconds(lambda: subprocess.run([*FINETUNE, "--help"], check=True, stdout=subprocess.DEVNULL))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    beyond = [ours - theirs for ours, theirs in pairs]
    figures = {
        "machine": describe_machine("torch", "open_clip_torch"),
        "quick": quick,
        "finetune_run_s": spread([ours for ours, _ in pairs]),
        "bare_s": spread([theirs for _, theirs in pairs]),
        "beyond_s": spread(beyond),
        "help_s": round(min(helps), 3),
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    met = statistics.median(beyond) <= GOAL_S and min(helps) <= HELP_GOAL_S
    finish("startup", figures, {"beyond_s": GOAL_S, "help_s": HELP_GOAL_S}, quick or met)


if __name__ == "__main__":
    main()
