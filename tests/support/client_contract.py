"""What a RunClient promises, as tests: held to the fake and to a real API server alike.

A subclass gives the fixtures `runs`, a client of a namespace of its own, and `operator`, who moves runs along.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest

from finetune_sdk.api.reasons import State
from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.api.status import ProgressStage
from finetune_sdk.client import (
    AlreadyExists,
    Deleted,
    InvalidRun,
    NoReport,
    OutputNotOwned,
    Refused,
    RunChange,
    RunClient,
    RunDeleted,
    RunFailed,
    RunNotFound,
    StorageKeys,
    WaitTimeout,
)
from finetune_sdk.errors import InvalidSpec, UsageError
from finetune_sdk.storage import Store

SOON = 30.0
"""Seconds after which a wait that should have ended has failed."""
Json = dict[str, Any]


class Operator(Protocol):
    """What an operator and a trainer do to a run, as the fake's methods have it."""

    def move(self, name: str, state: State, reason: str = "", message: str = "") -> FinetuneRun: ...

    def progress(self, name: str, *, stage: ProgressStage = "train", percent: float | None = None) -> FinetuneRun: ...

    def succeed(self, name: str, *, before: float, after: float) -> FinetuneRun: ...

    def fail(self, name: str, reason: str, message: str = "") -> FinetuneRun: ...


class StoreOf(Protocol):
    """The stored objects below a URI."""

    def __call__(self, uri: str) -> Store: ...


def a_run(name: str, output: str = "", **metadata: Any) -> Json:
    """A small valid document."""
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FinetuneRun",
        "metadata": {"name": name, **metadata},
        "spec": {
            "model": {"name": "ViT-B-32-quickgelu", "weights": {"tag": "openai"}},
            "data": {"source": {"uri": "s3://runs/captions.csv"}},
            "output": {"uri": output or f"s3://runs/output/{name}"},
        },
    }


def later(action: Callable[[], object]) -> "Future[object]":
    """Do it in a thread of its own."""
    return ThreadPoolExecutor(max_workers=1).submit(action)


class ClientContract:
    """The promises."""

    def test_a_run_comes_from_a_document_a_model_or_a_file(self, runs: RunClient, tmp_path: Path) -> None:
        first = runs.create(a_run("document"))
        assert (first.status.state, first.status.reason) == ("Pending", "WaitingForOperator")
        assert first.metadata.uid
        assert first.metadata.namespace == runs.namespace
        second = runs.create(FinetuneRun.model_validate(a_run("model", labels={"team": "vision"})))
        assert second.metadata.labels == {"team": "vision"}
        file = tmp_path / "run.yaml"
        file.write_text(
            "apiVersion: finetune.dev/v1alpha1\nkind: FinetuneRun\nmetadata: {name: file}\nspec:\n"
            "  model: {name: ViT-B-32-quickgelu, weights: {tag: openai}}\n  data: {source: {uri: s3://runs/a.csv}}\n"
            "  output: {uri: s3://runs/output/file}\n"
        )
        assert runs.create(file).spec.output.uri == "s3://runs/output/file"
        assert [run.metadata.name for run in runs.list()] == ["document", "file", "model"]

    def test_a_run_that_was_read_can_be_created_again_under_another_name(self, runs: RunClient) -> None:
        run = runs.create(a_run("first"))
        again = run.model_copy(update={"metadata": run.metadata.model_copy(update={"name": "second"})})
        assert runs.create(again).metadata.uid != run.metadata.uid

    def test_a_taken_name_is_refused(self, runs: RunClient) -> None:
        runs.create(a_run("twice"))
        with pytest.raises(AlreadyExists, match=f"run 'twice' exists already in namespace {runs.namespace}"):
            runs.create(a_run("twice"))

    def test_every_mistake_is_named_by_its_field(self, runs: RunClient) -> None:
        bad = a_run("bad")
        bad["spec"]["training"] = {"epochs": -1, "batchsize": 3}
        with pytest.raises(InvalidSpec) as told:
            runs.create(bad)
        assert isinstance(told.value, InvalidRun)
        assert told.value.exit_code == 64
        assert "spec.training.epochs: must be at least 1; found -1" in str(told.value)
        assert "spec.training.batchsize: unknown key; did you mean batchSize?" in str(told.value)

    def test_an_unknown_name_is_told_with_near_ones(self, runs: RunClient) -> None:
        with pytest.raises(RunNotFound, match="nor any other"):
            runs.get("flowers")
        runs.create(a_run("flowers"))
        with pytest.raises(RunNotFound, match=r"no run 'flower' in namespace .*: did you mean flowers\?"):
            runs.get("flower")
        with pytest.raises(RunNotFound, match=r"no run 'xyz' in namespace .*, only flowers$"):
            runs.suspend("xyz")

    def test_runs_are_listed_by_state_label_and_namespace(self, runs: RunClient, operator: Operator) -> None:
        runs.create(a_run("a", labels={"team": "vision"}))
        runs.create(a_run("b", labels={"team": "text"}))
        operator.fail("b", "DataInvalid", "captions.csv:3: no image")
        assert [run.metadata.name for run in runs.list(state="Failed")] == ["b"]
        assert [run.metadata.name for run in runs.list(labels={"team": "vision"})] == ["a"]
        assert [run.metadata.name for run in runs.list(labels="team in (vision, text)", state="Pending")] == ["a"]
        assert {run.metadata.namespace for run in runs.list(all_namespaces=True)} >= {runs.namespace}
        assert runs.list(namespace="nobody") == []

    def test_wait_returns_the_run_that_succeeded(self, runs: RunClient, operator: Operator) -> None:
        runs.create(a_run("good"))
        seen: list[State] = []
        done = later(lambda: runs.wait("good", timeout=SOON, on_change=lambda run: seen.append(run.status.state)))
        operator.progress("good", percent=40)
        operator.succeed("good", before=0.2167, after=0.4667)
        run = done.result(SOON)
        assert isinstance(run, FinetuneRun)
        assert run.status.evaluation is not None
        assert (run.status.evaluation.gain, seen[-1]) == (0.25, "Succeeded")

    def test_wait_raises_why_a_run_failed(self, runs: RunClient, operator: Operator) -> None:
        runs.create(a_run("bad"))
        operator.fail("bad", "GateNotMet", "the gain of 0.01 misses the gate's 0.02")
        with pytest.raises(RunFailed) as told:
            runs.wait("bad", timeout=SOON)
        assert (told.value.reason, told.value.exit_code) == ("GateNotMet", 80)
        assert told.value.message == "the gain of 0.01 misses the gate's 0.02"
        assert told.value.run.metadata.name == "bad"
        assert runs.wait("bad", "Failed", timeout=SOON).status.state == "Failed"
        assert runs.wait("bad", "condition=GatePassed=False", timeout=SOON).status.reason == "GateNotMet"

    def test_wait_for_states_and_conditions(self, runs: RunClient, operator: Operator) -> None:
        runs.create(a_run("one"))
        operator.progress("one", percent=1)
        assert runs.wait("one", "Running", timeout=SOON).status.state == "Running"
        assert runs.wait("one", "condition=Accepted", timeout=SOON).status.state == "Running"
        with pytest.raises(WaitTimeout, match=r"run .one. did not come to Suspended within 0\.5 s: it is Running"):
            runs.wait("one", "Suspended", timeout=0.5)
        operator.succeed("one", before=0.2, after=0.3)
        with pytest.raises(Refused, match="run 'one' is Succeeded: it will not come to Queued any more"):
            runs.wait("one", "Queued", timeout=SOON)
        with pytest.raises(UsageError, match=r"'sometime' is nothing to wait for: write finished, a state \(Pending"):
            runs.wait("one", "sometime")

    def test_wait_tells_a_deletion(self, runs: RunClient) -> None:
        runs.create(a_run("gone"))
        looked = threading.Event()
        done = later(lambda: runs.wait("gone", timeout=SOON, on_change=lambda _: looked.set()))
        assert looked.wait(SOON)
        runs.delete("gone")
        with pytest.raises(RunDeleted, match="run 'gone' was deleted while it was waited for"):
            done.result(SOON)

    def test_a_retry_is_waited_for_past_the_old_failure(self, runs: RunClient, operator: Operator) -> None:
        runs.create(a_run("again"))
        operator.fail("again", "StorageDenied", "s3://runs: wrong key")
        run = runs.retry("again")
        assert (run.spec.lifecycle.restart, run.status.state) == (1, "Failed")
        done = later(lambda: runs.wait("again", timeout=SOON))
        operator.succeed("again", before=0.2, after=0.3)
        assert isinstance(done.result(SOON), FinetuneRun)

    def test_what_cannot_be_retried_is_refused_in_words(self, runs: RunClient, operator: Operator) -> None:
        runs.create(a_run("early"))
        with pytest.raises(Refused, match=r"run 'early' is Pending \(WaitingForOperator\): only a Failed run can be"):
            runs.retry("early")
        operator.progress("early")
        with pytest.raises(Refused, match="run 'early' is Running: only a Failed run can be retried"):
            runs.retry("early")
        operator.fail("early", "Diverged", "loss nan")
        runs.retry("early")
        with pytest.raises(Refused, match="has a change that the operator has not seen yet"):
            runs.retry("early")

    def test_suspend_resume_and_retry_change_the_spec(self, runs: RunClient, operator: Operator) -> None:
        runs.create(a_run("pause"))
        assert runs.suspend("pause").spec.suspend is True
        assert runs.suspend("pause").metadata.generation == 2
        assert runs.resume("pause").spec.suspend is False
        assert runs.resume("pause").metadata.generation == 3
        runs.suspend("pause")
        operator.fail("pause", "Diverged", "loss nan")
        with pytest.raises(Refused, match="run 'pause' is Failed: there is nothing to suspend"):
            runs.suspend("pause")
        assert runs.retry("pause").spec.suspend is False

    def test_watch_tells_what_happens(self, runs: RunClient, operator: Operator) -> None:
        runs.create(a_run("w"))
        runs.create(a_run("other"))
        told: list[RunChange] = []
        seen = threading.Event()

        def read() -> None:
            for change in runs.watch("w", timeout=SOON):
                told.append(change)
                seen.set()
                if change.kind == "deleted":
                    return

        done = later(read)
        assert seen.wait(SOON)
        operator.progress("w", percent=10)
        runs.delete("w")
        done.result(SOON)
        assert [change.kind for change in told] == ["added", "modified", "deleted"]
        assert told[1].before is not None
        assert (told[1].before.status.state, told[1].run.status.state) == ("Pending", "Running")
        assert {change.run.metadata.name for change in told} == {"w"}

    def test_a_watch_ends_with_its_time(self, runs: RunClient) -> None:
        runs.create(a_run("quiet"))
        assert [change.kind for change in runs.watch(timeout=1.0)] == ["added"]

    def test_deleting_a_run_leaves_what_it_stored(
        self, runs: RunClient, operator: Operator, store_of: StoreOf, output: str
    ) -> None:
        runs.create(a_run("kept", output))
        operator.succeed("kept", before=0.2, after=0.3)
        assert runs.delete("kept").run.metadata.name == "kept"
        with pytest.raises(RunNotFound):
            runs.get("kept")
        assert "result.json" in keys(store_of(output))

    def test_a_report_is_read_from_storage(
        self, runs: RunClient, operator: Operator, store_of: StoreOf, output: str
    ) -> None:
        runs.create(a_run("page", output))
        with pytest.raises(NoReport, match=r"report.html yet: run 'page' is Pending, .*`finetune report s3://"):
            runs.report("page")
        operator.succeed("page", before=0.2, after=0.3)
        assert runs.report("page").startswith(b"<!doctype html>")
        store_of(output).delete("report.html")
        with pytest.raises(NoReport, match="any more: run 'page' succeeded, and somebody deleted it"):
            runs.report("page")

    def test_artifacts_go_with_the_run_and_strangers_stay(
        self, runs: RunClient, operator: Operator, store_of: StoreOf, output: str
    ) -> None:
        runs.create(a_run("all", output))
        operator.succeed("all", before=0.2, after=0.3)
        store = store_of(output)
        store.write("notes.txt", b"mine")
        store.write("model/deeper/owner.json", b"another run's, which lies deeper")
        store.write("model/deeper/run.json", b"another run's")
        count = len(keys(store))
        deleted = runs.delete("all", artifacts=True)
        assert isinstance(deleted, Deleted)
        assert keys(store) == ["model/deeper/owner.json", "model/deeper/run.json", "notes.txt"]
        assert deleted.objects == count - 3
        assert deleted.left == tuple(store.uri_of(key) for key in keys(store))

    def test_anothers_output_is_left_alone(
        self, runs: RunClient, operator: Operator, store_of: StoreOf, output: str
    ) -> None:
        runs.create(a_run("theirs", output))
        operator.succeed("theirs", before=0.2, after=0.3)
        runs.create(a_run("mine", output))
        before = keys(store_of(output))
        with pytest.raises(OutputNotOwned, match=r"belongs to run .*, not to 'mine' .*: nothing was deleted"):
            runs.delete("mine", artifacts=True)
        assert runs.get("mine").metadata.name == "mine"
        store_of(output).delete("owner.json")
        with pytest.raises(OutputNotOwned, match=r"holds objects but no owner.json"):
            runs.delete("mine", artifacts=True)
        assert keys(store_of(output)) == [key for key in before if key != "owner.json"]

    def test_a_run_that_stored_nothing_is_deleted_all_the_same(self, runs: RunClient, output: str) -> None:
        runs.create(a_run("empty", output))
        assert runs.delete("empty", artifacts=True).objects == 0
        assert runs.list() == []

    def test_storage_is_made_once_unless_it_may_be_replaced(self, runs: RunClient) -> None:
        keys = StorageKeys("https://s3.example.com", "key", "secret")
        runs.create_storage(keys, name="made")
        with pytest.raises(AlreadyExists, match="Secret 'made' exists already"):
            runs.create_storage(keys, name="made")
        runs.create_storage(keys, name="made", replace=True)

    def test_a_spec_is_fixed_but_for_suspend_and_lifecycle(self, runs: RunClient) -> None:
        runs.create(a_run("fixed"))
        cluster = runs._cluster
        for patch in (
            {"output": {"uri": "s3://runs/elsewhere"}},
            {"training": {"epochs": 3}},
            {"compute": {"gpusPerNode": 2}},
        ):
            fixed = (
                rf"\nspec: Forbidden: changed: spec\.{next(iter(patch))}; only spec\.suspend and spec\.lifecycle may ch"
            )
            with pytest.raises(InvalidRun, match=fixed):
                cluster.patch_run(runs.namespace, "fixed", {"spec": patch})
        cluster.patch_run(runs.namespace, "fixed", {"spec": {"lifecycle": {"restart": 2, "maxRetries": 9}}})
        with pytest.raises(InvalidRun, match=r"\nspec\.lifecycle\.restart: Invalid value: may only grow"):
            cluster.patch_run(runs.namespace, "fixed", {"spec": {"lifecycle": {"restart": 1}}})
        assert runs.get("fixed").spec.lifecycle.max_retries == 9


def keys(store: Store) -> list[str]:
    """What lies there."""
    return [entry.key for entry in store.list()]
