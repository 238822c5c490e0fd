"""A watch that goes on: over forgotten versions, broken connections and servers that do not answer for a while."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client import RunChange, ServerError, Unreachable
from finetune_sdk.client.changes import PATIENCE_SECONDS, Deadline, follow
from finetune_sdk.client.cluster import EventType, Json, Listing, Scope, WatchExpired
from finetune_sdk.client.documents import run_of
from finetune_sdk.client.memory import MemoryCluster
from tests.support.client_contract import a_run

EVERYWHERE = Scope(None)
Event = tuple[EventType, Json]
Step = list[Event] | Exception


def at(name: str, version: int, uid: str = "u1") -> Json:
    """A run as the API server has it at a version."""
    document = a_run(name)
    document["metadata"] |= {"namespace": "ns", "uid": uid, "resourceVersion": str(version)}
    return document


class Scripted(MemoryCluster):
    """Answers lists and watches by a script; the deadline is over when the script is."""

    def __init__(self, lists: list[list[Json] | Exception], watches: list[Step]) -> None:
        super().__init__("ns", 1.0)
        self._lists, self._watches = lists, watches
        self.paused: list[float] = []

    def list_runs(self, scope: Scope) -> Listing:
        answer = self._lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Listing(answer, "9")

    def watch_runs(self, scope: Scope, version: str, seconds: float) -> Iterator[Event]:
        step = self._watches.pop(0)
        if isinstance(step, Exception):
            raise step
        yield from step

    def changes(self, known: FinetuneRun | None = None) -> list[tuple[str, str, str]]:
        told = follow(self, EVERYWHERE, Deadline(1.0, self._clock), known=known, pause=self.paused.append)
        return [(one.kind, one.run.metadata.name, one.run.metadata.resource_version or "") for one in told]

    def _clock(self) -> float:
        return 0.0 if self._lists else 1.0


def test_after_410_only_what_changed_meanwhile_is_told() -> None:
    cluster = Scripted(
        [[at("a", 1), at("b", 1)], [at("a", 1), at("b", 5), at("c", 6)], []],
        [WatchExpired(), [], []],
    )
    assert cluster.changes() == [
        ("added", "a", "1"),
        ("added", "b", "1"),
        ("modified", "b", "5"),
        ("added", "c", "6"),
        ("deleted", "a", "1"),
        ("deleted", "b", "5"),
        ("deleted", "c", "6"),
    ]
    assert cluster.paused == [0.2, 0.2, 0.0], "a moment after each watch, none beyond the deadline"


def test_a_broken_connection_is_no_event() -> None:
    cluster = Scripted(
        [[at("a", 1)], [at("a", 2)], [at("a", 3)]],
        [[("MODIFIED", at("a", 2))], Unreachable("reset"), []],
    )
    assert cluster.changes() == [("added", "a", "1"), ("modified", "a", "2"), ("modified", "a", "3")]


def test_a_run_that_was_deleted_and_made_again_unseen_is_another() -> None:
    cluster = Scripted([[at("a", 1, "old")], [at("a", 4, "new")], []], [[], [], []])
    assert [kind for kind, _, _ in cluster.changes()][:3] == ["added", "deleted", "added"]


def test_a_deletion_before_the_first_list_is_told_of_a_run_that_the_caller_knows() -> None:
    known = run_of(at("a", 1))
    assert Scripted([[], []], [[], []]).changes(known) == [("deleted", "a", "1")]
    assert Scripted([[at("a", 1)], []], [[], []]).changes(known)[0] == ("added", "a", "1")


def test_pauses_grow_and_have_an_end() -> None:
    cluster = Scripted([Unreachable("down")] * 60, [])
    with pytest.raises(Unreachable, match="down"):
        cluster.changes()
    assert cluster.paused[:4] == [0.2, 0.4, 0.8, 1.0], "no pause goes beyond the deadline"
    assert len(cluster.paused) < 60


def test_patience_is_counted_from_the_last_answer() -> None:
    down: list[Any] = [ServerError("500")] * 5
    cluster = Scripted([*down, [at("a", 1)], *down, [at("a", 2)]], [[("MODIFIED", at("a", 1))], []])
    assert [kind for kind, _, _ in cluster.changes()] == ["added", "modified"]
    assert PATIENCE_SECONDS > 60


def test_a_deadline_counts_down() -> None:
    clock: Callable[[], float] = iter([3.0, 9.0, 11.0]).__next__
    deadline = Deadline(10.0, clock)
    assert (deadline.left, deadline.left, deadline.over()) == (7.0, 1.0, True)
    assert Deadline.after(None).left == float("inf")
    assert not Deadline.after(None).over()


def test_a_change_holds_what_was_before() -> None:
    cluster = Scripted([[at("a", 1)], []], [[("MODIFIED", at("a", 2)), ("DELETED", at("a", 3))], []])
    told: list[RunChange] = list(follow(cluster, EVERYWHERE, Deadline(1.0, cluster._clock), pause=lambda _: None))
    assert [one.before.metadata.resource_version if one.before else None for one in told] == [None, "1", "2"]
