"""Fixtures that tests of every kind share."""

from pathlib import Path

import pytest

from tests.support.command import Command


@pytest.fixture
def finetune(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The `finetune` command, in this process."""
    return Command(monkeypatch, capfd, tmp_path / "cache")
