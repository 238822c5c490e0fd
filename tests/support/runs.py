"""Whole runs as a user starts them: `finetune` in a process of its own, on tiny models and made pictures."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.models import Kind, tiny_open_clip_dir
from tests.support.pictures import make_pictures, write_table

FINETUNE = [sys.executable, "-m", "finetune_sdk"]
ALIKE = ("metrics.jsonl", "evaluation/before.json", "evaluation/after.json", "select.json")
PATIENCE_S = 120.0
"""How long a run may take to reach a point before the test gives up; they take seconds."""


def make_run(folder: Path, *, kind: Kind = "clip", images: int = 120, name: str = "run", **spec: Any) -> Path:
    """A run.yaml in `folder` over 2/3 train and 1/3 test pictures; `spec` replaces its sections."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "base").exists():
        tiny_open_clip_dir(folder / "base", kind)
        pictures = make_pictures(folder / "pictures", images)
        split = ["test" if index % 3 == 2 else "train" for index in range(images)]
        write_table(folder / "captions.csv", pictures, split=split)
    whole: dict[str, Any] = {
        "model": {"weights": {"uri": "base/"}},
        "data": {
            "train": {"uri": "captions.csv", "where": {"split": "train"}},
            "test": {"uri": "captions.csv", "where": {"split": "test"}},
        },
        "training": {"steps": 12, "batchSize": 16, "optimizer": {"learningRate": 1.0e-3}},
        "output": {"uri": f"output-{name}/"},
        **spec,
    }
    document = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FinetuneRun",
        "metadata": {"name": name},
        "spec": whole,
    }
    path = folder / f"{name}.yaml"
    # JSON is YAML 1.2.
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    return path


def saved_each_step(steps: int) -> dict[str, Any]:
    """Sections of a run that trains all of `steps` and can be killed after each."""
    return {
        "training": {
            "steps": steps,
            "batchSize": 16,
            "optimizer": {"learningRate": 1.0e-3},
            "earlyStopping": {"patience": 0},
        },
        "checkpoints": {"everySteps": 1, "keep": 3},
    }


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A process's environment: one thread, and a cache of its own in `folder`."""
    base = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AWS_", "FINETUNE_", "MLFLOW_", "WANDB_"))
    }
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "FINETUNE_CACHE": str(folder / "cache")}
    return base | quiet | more


def finetune(folder: Path, *arguments: str | Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in `folder` to its end."""
    return subprocess.run(
        [*FINETUNE, *map(str, arguments)],
        cwd=folder,
        env=environment(folder, **env),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 4,
        check=False,
    )


def start_finetune(folder: Path, *arguments: str | Path, **env: str) -> "subprocess.Popen[str]":
    """Start the command in `folder`; its output goes to a file beside run.yaml."""
    with (folder / "started.log").open("a") as log:
        return subprocess.Popen(
            [*FINETUNE, *map(str, arguments)],
            cwd=folder,
            env=environment(folder, **env),
            stdout=log,
            stderr=log,
            text=True,
        )


def wait_until(reached: Callable[[], bool], process: "subprocess.Popen[str]", what: str) -> None:
    """Return once `reached()`; fail if the process ends before or the deadline passes."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if process.poll() is not None:
            raise AssertionError(f"the process ended with {process.returncode} before {what}")
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"not {what} within {PATIENCE_S} s")
        # Half a step of a tiny model: the condition decides, not the pause.
        time.sleep(0.005)


def stage_of(output: Path) -> str | None:
    """The stage that a run has reached, None before its first."""
    try:
        stage: str = json.loads((output / "progress.json").read_bytes())["stage"]
    except FileNotFoundError:
        return None
    return stage


def has_step(output: Path, step: int) -> Callable[[], bool]:
    """Whether a checkpoint of that step or a later one is whole."""

    def reached() -> bool:
        steps = [int(path.parent.name.removeprefix("step-")) for path in output.glob("checkpoints/*/manifest.json")]
        return max(steps, default=0) >= step

    return reached


def outcome(output: Path) -> Mapping[str, Any]:
    """result.json."""
    document: Mapping[str, Any] = json.loads((output / "result.json").read_bytes())
    return document


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of what two equal runs must leave alike: model, metrics, figures and selection."""
    files = [*(output / name for name in ALIKE), *sorted((output / "model").rglob("*"))]
    contents = {str(path.relative_to(output)): path.read_bytes() for path in files if path.is_file()}
    for name in ("evaluation/before.json", "evaluation/after.json"):
        document = json.loads(contents[name])
        del document["pretrained"]  # where the base lies, which differs between two folders
        contents[name] = json.dumps(document).encode()
    card = "model/README.md"  # it names the run and the base
    contents[card] = contents[card].partition(b"\n# ")[2].partition(b"\n")[2].replace(str(output.parent).encode(), b"")
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
