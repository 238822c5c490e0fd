"""`kubectl finetune` inside the test's process, on a fake cluster."""

import os
from pathlib import Path

import pytest

from finetune_sdk.cli.cluster import options
from finetune_sdk.cli.kubectl import main
from finetune_sdk.client import RunClient
from finetune_sdk.client.testing import FakeRunClient
from tests.support.command import Ended


class Kubectl:
    """Calls the command; what it prints and its exit code are the answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fake: FakeRunClient) -> None:
        self._monkeypatch, self._capfd, self._fake = monkeypatch, capfd, fake
        for name in [name for name in os.environ if name.startswith(("AWS_", "FINETUNE_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setattr(options, "open_client", self._open)

    def __call__(self, *arguments: str | Path, **env: str) -> Ended:
        """Run to the end."""
        self._capfd.readouterr()
        with self._monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            code = main([*map(str, arguments)])
        captured = self._capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    def _open(self, target: options.Target) -> RunClient:
        if target.namespace is not None:
            self._fake._memory.namespace = target.namespace
        return self._fake
