"""The records that scenarios judge by see two pods at once, and every turn of a run."""

import json
from pathlib import Path
from typing import Any

from tests.on_cluster.node.records import PodRecord, TurnRecord

Json = dict[str, Any]


def written(folder: Path, *changes: tuple[str, Json], cut: int = 0) -> Path:
    """What kubectl prints: documents one after another, the last of them perhaps not whole yet."""
    text = "\n".join(json.dumps({"type": kind, "object": found}, indent=1) for kind, found in changes)
    log = folder / "log"
    log.write_text(text[: len(text) - cut])
    return log


def pod(uid: str, phase: str) -> Json:
    return {"metadata": {"uid": uid}, "status": {"phase": phase}}


def run(name: str, state: str, reason: str) -> Json:
    return {"metadata": {"name": name}, "status": {"state": state, "reason": reason}}


def test_pods_that_follow_one_another_are_one_at_once(tmp_path: Path) -> None:
    first = [("ADDED", pod("a", "Pending")), ("MODIFIED", pod("a", "Running")), ("MODIFIED", pod("a", "Failed"))]
    second = [("ADDED", pod("b", "Pending")), ("DELETED", pod("b", "Running"))]
    record = PodRecord(written(tmp_path, *first, *second, ("ADDED", pod("c", "Pending"))))
    assert (record.count(), record.at_once()) == (3, 1)


def test_pods_that_overlap_are_counted(tmp_path: Path) -> None:
    overlap = [("ADDED", pod("a", "Running")), ("ADDED", pod("b", "Pending")), ("MODIFIED", pod("a", "Succeeded"))]
    assert PodRecord(written(tmp_path, *overlap)).at_once() == 2


def test_turns_are_told_once_each_and_what_is_not_whole_is_left_for_later(tmp_path: Path) -> None:
    changes = [
        ("ADDED", run("r", "Pending", "WaitingForOperator")),
        ("MODIFIED", run("r", "Starting", "")),
        ("MODIFIED", run("other", "Failed", "Hung")),
        ("MODIFIED", run("r", "Starting", "")),
        ("MODIFIED", run("r", "Running", "")),
    ]
    seen = [("Pending", "WaitingForOperator"), ("Starting", "")]
    assert TurnRecord(written(tmp_path, *changes, cut=5)).of_run("r") == seen
    assert TurnRecord(written(tmp_path, *changes)).of_run("r") == [*seen, ("Running", "")]
