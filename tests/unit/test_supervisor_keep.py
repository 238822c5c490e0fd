"""The log of a worker that was ended is left in the output, but only in its own."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetune_sdk.contract import Termination
from finetune_sdk.storage import Store, open_store
from finetune_trainer.pipeline.documents import write_document
from finetune_trainer.pipeline.journal import RunProgress
from finetune_trainer.pipeline.layout import OWNER, PROGRESS
from finetune_trainer.pipeline.owner import Owner
from finetune_trainer.supervisor.keep import keep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HUNG = Termination(reason="Hung", message="no progress", exit_code=74)
EVENTS = ({"event": "output", "line": "café"}, {"event": "ended", **HUNG.to_document()})
LOG = "".join(f"{json.dumps(event)}\n" for event in EVENTS)


@pytest.fixture
def output(tmp_path: Path) -> Store:
    """An output in its third attempt, by the pod `pod-3`."""
    store = open_store(tmp_path.as_uri())
    write_document(store, OWNER, Owner(run="uid", process="pod-3", epoch=3, since=NOW))
    write_document(store, PROGRESS, RunProgress(attempts=3, stage="train", updated_at=NOW))
    return store


def keys(store: Store) -> list[str]:
    return [entry.key for entry in store.list()]


def test_the_log_of_an_ended_worker_and_why_it_ended_are_kept(output: Store) -> None:
    keep(output, "pod-3", LOG.encode(), NOW)
    assert output.read("logs/attempt-3.jsonl") == LOG.encode()
    progress = json.loads(output.read(PROGRESS))
    assert (progress["stage"], progress["attempts"]) == ("train", 3)
    assert progress["failure"] == {
        "reason": "Hung",
        "message": "no progress",
        "exitCode": 74,
        "at": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("process", ["pod-2", None])
def test_in_anothers_output_nothing_is_left(output: Store, process: str | None) -> None:
    before = (keys(output), output.read(PROGRESS))
    keep(output, process, LOG.encode(), NOW)
    assert (keys(output), output.read(PROGRESS)) == before


def test_where_nothing_was_begun_nothing_is_left(tmp_path: Path) -> None:
    empty = open_store(tmp_path.as_uri())
    keep(empty, "pod-3", LOG.encode(), NOW)
    assert keys(empty) == []
