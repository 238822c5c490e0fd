"""Logs over what goes wrong on their way: a node's own words in them, and an API server that does not answer."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client import ServerError, Unreachable
from finetune_sdk.client.changes import PATIENCE_SECONDS
from finetune_sdk.client.logs import LogLine, followed_log
from finetune_sdk.client.testing import FakeRunClient
from tests.support.client_contract import SOON, a_run, later

NO_WATCHER = "failed to create fsnotify watcher: too many open files"
GONE = "unable to retrieve container logs for containerd://0a1b"


@pytest.fixture
def fake() -> FakeRunClient:
    """One run that works, and whose trainer has written two lines."""
    fake = FakeRunClient()
    fake.create(a_run("r"))
    fake.progress("r")
    fake.log("r", "one", "two")
    return fake


def written(fake: FakeRunClient, monkeypatch: pytest.MonkeyPatch, *readings: list[str]) -> None:
    """What the API server sends at each reading of a log."""
    left = list(readings)

    def read_log(*_: object, **__: object) -> Iterator[str]:
        yield from left.pop(0) if left else []

    monkeypatch.setattr(fake._memory, "read_log", read_log)


@pytest.fixture
def down(fake: FakeRunClient, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let requests fail for so many times, each kind for itself; `meanwhile` happens at the last of them."""

    def fail(kind: str, times: int, error: Exception, meanwhile: Callable[[], object] = lambda: None) -> None:
        answer, left = getattr(fake._memory, kind), [error] * times

        def ask(*words: Any, **options: Any) -> Any:
            if not left:
                return answer(*words, **options)
            failure = left.pop()
            if not left:
                meanwhile()
            raise failure

        monkeypatch.setattr(fake._memory, kind, ask)

    return fail


def followed(fake: FakeRunClient, run: FinetuneRun, paused: list[float]) -> Iterator[LogLine]:
    """The run's log to its end; pauses take no time."""
    return followed_log(fake._memory, run, None, look=lambda: fake.get("r"), wait=lambda _: None, pause=paused.append)


def test_a_word_of_the_nodes_has_the_time_of_the_line_before_it(
    fake: FakeRunClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(fake, monkeypatch, ["2026-01-02T03:04:05.678901234Z one", NO_WATCHER])
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert [(line.text, line.at) for line in fake.logs("r")] == [("one", at), (NO_WATCHER, at)]


def test_where_no_line_is_before_it_it_has_the_pods_time(fake: FakeRunClient, monkeypatch: pytest.MonkeyPatch) -> None:
    written(fake, monkeypatch, [GONE])
    (pod,) = fake._memory.list_pods("default", "")
    made = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    assert [(line.text, line.at) for line in fake.logs("r")] == [(GONE, made)]


def test_a_node_that_says_the_same_at_each_reading_is_heard_once(
    fake: FakeRunClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = "2026-01-02T03:04:05Z one", "2026-01-02T03:04:06Z two"
    written(fake, monkeypatch, [one, NO_WATCHER], [one, NO_WATCHER], [one, two, NO_WATCHER])
    run = fake.get("r")
    over = run.model_copy(update={"status": run.status.model_copy(update={"state": "Succeeded"})})
    looks = iter([run, over])
    told = followed_log(fake._memory, run, None, look=lambda: next(looks), wait=lambda _: None)
    assert [line.text for line in told] == ["one", NO_WATCHER, "two"]


@pytest.mark.parametrize("error", [Unreachable("down"), ServerError("503")], ids=["unreachable", "failing"])
def test_following_goes_on_over_a_short_outage(
    fake: FakeRunClient, down: Callable[..., None], error: Exception
) -> None:
    fake.move("r", "Retrying", "NodeLost", "node1 no longer answers")  # its pod has ended
    down("list_pods", 2, error)
    down("watch_runs", 1, error, lambda: down("get_run", 2, error, lambda: fake.succeed("r", before=0.1, after=0.2)))
    reading = later(lambda: [line.text for line in fake.logs("r", follow=True)])
    assert reading.result(SOON) == ["one", "two"]


@pytest.mark.parametrize("error", [Unreachable("down"), ServerError("503")], ids=["unreachable", "failing"])
def test_a_whole_log_is_read_once_the_api_server_answers_again(
    fake: FakeRunClient, down: Callable[..., None], error: Exception
) -> None:
    run = fake.succeed("r", before=0.1, after=0.2)
    down("read_log", 2, error)
    assert [line.text for line in followed(fake, run, [])] == ["one", "two"]


def test_a_node_that_never_answers_does_not_hold_up_the_end(fake: FakeRunClient, down: Callable[..., None]) -> None:
    run = fake.succeed("r", before=0.1, after=0.2)
    down("read_log", 1000, ServerError("500: dial tcp: no route to host"))
    paused: list[float] = []
    assert list(followed(fake, run, paused)) == []
    assert 1 < sum(paused) < 10


@pytest.mark.parametrize("kind", ["list_pods", "read_log", "get_run"])
def test_an_outage_without_end_is_told(fake: FakeRunClient, down: Callable[..., None], kind: str) -> None:
    run = fake.move("r", "Retrying", "NodeLost")
    down(kind, 1000, Unreachable("down"))
    paused: list[float] = []
    with pytest.raises(Unreachable, match="down"):
        list(followed(fake, run, paused))
    assert PATIENCE_SECONDS <= sum(paused) < 2 * PATIENCE_SECONDS
