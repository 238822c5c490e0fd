"""The `finetune` command inside the test's process: its public door without the seconds that imports take."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from finetune_sdk.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Command:
    """Calls `finetune` in a folder, with a cache of its own and no credentials but those given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], cache: Path) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        for name in list(os.environ):
            if name.startswith(("AWS_", "FINETUNE_", "MLFLOW_", "WANDB_")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("FINETUNE_CACHE", str(cache))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("FINETUNE_DEVICE", "cpu")

    def __call__(self, folder: Path, *arguments: str | Path, **env: str) -> Ended:
        """Run to the end; what it wrote is not shown by pytest."""
        self._capfd.readouterr()
        with self._monkeypatch.context() as patch:
            patch.chdir(folder)
            for name, value in env.items():
                patch.setenv(name, value)
            code = main([*map(str, arguments)])
        captured = self._capfd.readouterr()
        return Ended(code, captured.out, captured.err)
