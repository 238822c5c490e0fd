"""The fake keeps the client's contract, and takes the course that a test scripts."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_sdk.client import NoLogs, RunClient, RunFailed
from finetune_sdk.client.testing import FakeRunClient
from finetune_sdk.storage import Store
from tests.support.client_contract import SOON, ClientContract, a_run, later


@pytest.fixture
def fake() -> FakeRunClient:
    return FakeRunClient(namespace="team-a")


class TestFake(ClientContract):
    @pytest.fixture
    def runs(self, fake: FakeRunClient) -> RunClient:
        return fake

    @pytest.fixture
    def operator(self, fake: FakeRunClient) -> FakeRunClient:
        return fake

    @pytest.fixture
    def store_of(self, fake: FakeRunClient) -> Callable[[str], Store]:
        return lambda uri: fake._memory.open_store(uri, None)

    @pytest.fixture
    def output(self) -> str:
        return "s3://runs/output/x"


def promote(runs: RunClient) -> str:
    """What a user's code may look like: create, wait, retry once if storage was down."""
    runs.create(a_run("flowers"))
    try:
        run = runs.wait("flowers")
    except RunFailed as failed:
        if failed.reason != "StorageUnavailable":
            return failed.reason
        runs.retry("flowers")
        run = runs.wait("flowers")
    return run.status.evaluation.verdict or "" if run.status.evaluation else ""


def test_a_course_is_scripted_before_the_run_exists(fake: FakeRunClient) -> None:
    fake.when("create", lambda run: fake.fail(run.metadata.name, "StorageUnavailable", "s3://runs is full"))
    fake.when("retry", lambda run: fake.succeed(run.metadata.name, before=0.21, after=0.34), name="flowers")
    assert promote(fake) == "Improved"


def test_equal_figures_are_no_gain(fake: FakeRunClient) -> None:
    fake.when("create", lambda run: fake.succeed(run.metadata.name, before=0.21, after=0.21))
    assert promote(fake) == "NoGain"
    assert fake.get("flowers").status.reason == "NoGain"


def test_a_wait_in_which_nothing_happens_fails_the_test() -> None:
    fake = FakeRunClient(patience=0.1)
    fake.create(a_run("stuck"))
    with pytest.raises(AssertionError, match=re.escape("nothing happened to a run for 0.1 s: script its course")):
        fake.wait("stuck")


def test_logs_go_from_pod_to_pod(fake: FakeRunClient) -> None:
    fake.create(a_run("chatty"))
    with pytest.raises(NoLogs, match="run 'chatty' is Pending, WaitingForOperator, and has no pod yet"):
        list(fake.logs("chatty"))
    fake.progress("chatty")
    fake.log("chatty", "one", "two")
    reading = later(lambda: [(line.pod, line.text) for line in fake.logs("chatty", follow=True)])
    fake.move("chatty", "Retrying", "NodeLost", "node1 no longer answers")
    fake.log("chatty", "three")
    fake.succeed("chatty", before=0.1, after=0.2)
    told = reading.result(SOON)
    assert told in (
        [("chatty-trainer-1", "one"), ("chatty-trainer-1", "two"), ("chatty-trainer-2", "three")],
        [("chatty-trainer-2", "three")],  # of pods from before the call only the newest
    )
    assert [line.text for line in fake.logs("chatty", tail=1)] == ["three"]


def test_a_run_without_a_pod_says_where_its_log_is(fake: FakeRunClient) -> None:
    fake.create(a_run("old", "s3://runs/old/"))
    fake.succeed("old", before=0.1, after=0.2)
    for follow in (False, True):
        with pytest.raises(
            NoLogs, match=re.escape("its pods are deleted: the end of their logs is at s3://runs/old/lo")
        ):
            list(fake.logs("old", follow=follow))


def test_the_fake_has_every_method_of_the_client_with_its_signature() -> None:
    import inspect

    for name, method in inspect.getmembers(RunClient, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(FakeRunClient, name)) == inspect.signature(method), name


def test_an_exported_name_is_there() -> None:
    import finetune_sdk.client as client

    text = Path(client.__file__).read_text(encoding="utf-8")
    imported = set(re.findall(r"^    (\w+),$", text.split("__all__")[0], re.MULTILINE))
    imported |= {
        name.strip()
        for line in re.findall(r"^from .* import (\w[\w, ]*)$", text, re.MULTILINE)
        for name in line.split(",")
    }
    assert sorted(imported) == sorted(client.__all__)
