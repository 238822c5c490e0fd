"""`kubectl finetune` on a fake cluster: what it prints where, and its exit codes."""

import io
import json
import re
import sys
import webbrowser
from pathlib import Path

import click
import pytest

from finetune_sdk.api import reasons
from finetune_sdk.api.reasons import REASONS
from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.cli.cluster.advice import BY_REASON, BY_STATE, what_next
from finetune_sdk.cli.cluster.tables import duration
from finetune_sdk.cli.kubectl import SUBCOMMANDS, kubectl_finetune
from finetune_sdk.client.testing import FakeRunClient
from finetune_sdk.errors import DataInvalid, GateNotMet
from finetune_sdk.strict_yaml import read_yaml
from tests.support.client_contract import a_run
from tests.support.kubectl_command import Kubectl

SECRET_KEY = "canary-of-this-test"


class Terminal(io.StringIO):
    """Standard input at which a person sits."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def fake() -> FakeRunClient:
    fake = FakeRunClient(namespace="team-a")
    for name in ("birds", "flowers", "trees"):
        fake.create(a_run(name, labels={"team": "vision"}))
    fake.fail("birds", DataInvalid.reason, "s3://runs/captions.csv:3: no image birds/3.png")
    fake.progress("flowers", percent=42, step=126, total_steps=300)
    fake.succeed("trees", before=0.2167, after=0.4667, interval=(0.121, 0.37))
    return fake


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fake: FakeRunClient) -> Kubectl:
    return Kubectl(monkeypatch, capfd, fake)


def test_list_shows_each_run_in_a_line(kubectl: Kubectl) -> None:
    lines = kubectl("list").out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "REASON", "PROGRESS", "BEFORE", "AFTER", "GAIN", "AGE"]
    assert [re.sub(r"\s+\d+s$", "", line) for line in lines[1:]] == [
        "birds     Failed      DataInvalid",
        "flowers   Running                   train 42%",
        "trees     Succeeded                             21.7 %   46.7 %   +25.0",
    ]


def test_list_wide_and_of_all_namespaces(kubectl: Kubectl, fake: FakeRunClient) -> None:
    fake.create(a_run("far"), namespace="team-b")
    lines = kubectl("list", "-A", "-o", "wide").out.splitlines()
    assert lines[0].split()[0] == "NAMESPACE"
    assert lines[0].split()[-5:] == ["QUEUE", "MODEL", "JOB", "ETA", "ATTEMPTS"]
    assert lines[-1].split()[:2] == ["team-b", "far"]
    assert "far" not in kubectl("list").out


def test_list_chooses_by_state_and_label(kubectl: Kubectl) -> None:
    assert kubectl("list", "--state", "failed", "-o", "name").out == "finetunerun.finetune.dev/birds\n"
    assert kubectl("list", "-l", "team=text") == type(kubectl("list"))(0, "", "no such runs in namespace team-a\n")
    assert kubectl("list", "-n", "empty").err == "no runs in namespace empty\n"


def test_documents_are_what_the_cluster_holds(kubectl: Kubectl) -> None:
    listed = json.loads(kubectl("list", "-o", "json").out)
    assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == (
        "List",
        ["birds", "flowers", "trees"],
    )
    shown = read_yaml(kubectl("status", "trees", "-o", "yaml").out.encode()).plain()
    assert shown == json.loads(kubectl("status", "trees", "-o", "json").out)
    assert FinetuneRun.model_validate(shown).status.evaluation is not None
    assert kubectl("status", "trees", "-o", "name").out == "finetunerun.finetune.dev/trees\n"


def test_status_of_a_run_that_succeeded(kubectl: Kubectl) -> None:
    out = kubectl("status", "trees").out
    for line in (
        "state      Succeeded",
        "before     21.7 %",
        "gain       +25.0 points, 95 % interval +12.1 to +37.0: Improved",
        "report     s3://runs/output/trees/report.html",
        "next       `kubectl finetune report trees -n team-a --open`",
    ):
        assert f"\n{line}\n" in out
    assert re.search(r"^Succeeded\s+True\s+Succeeded", out, re.MULTILINE)


def test_status_of_runs_that_work_and_that_failed(kubectl: Kubectl) -> None:
    assert "\nprogress   train 42 %, step 126 of 300 (seen " in kubectl("status", "flowers").out
    failed = kubectl("status", "birds").out
    assert "\nreason     DataInvalid\nmessage    s3://runs/captions.csv:3: no image birds/3.png\n" in failed
    assert "`kubectl finetune retry birds -n team-a`" in failed
    wide = kubectl("status", "birds", "-o", "wide").out
    assert "\njob        birds-trainer\n" in wide
    assert "\nended      20" in wide


def test_an_unknown_run_is_told_on_stderr(kubectl: Kubectl) -> None:
    ended = kubectl("status", "flower")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "there is no run 'flower' in namespace team-a: did you mean flowers?\n"


def test_what_a_user_wrote_cannot_command_the_terminal(kubectl: Kubectl, fake: FakeRunClient) -> None:
    fake.fail("flowers", "DataInvalid", "row \x1b]0;owned\x07 is bad")
    assert "\x1b" not in kubectl("status", "flowers").out


def test_logs_are_printed_and_the_next_pod_is_told(kubectl: Kubectl, fake: FakeRunClient) -> None:
    fake.log("flowers", "step 1", "step 2")
    assert kubectl("logs", "flowers").out == "step 1\nstep 2\n"
    assert kubectl("logs", "flowers", "--tail", "1").out == "step 2\n"
    ended = kubectl("logs", "birds")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(
        "run 'birds' is Failed, DataInvalid, and its pods are deleted: the end of their logs is"
    )


def test_a_report_goes_to_a_file_or_to_stdout(kubectl: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    assert kubectl("report", "trees", "-o", file).out == f"{file}\n"
    assert kubectl("report", "trees", "-o", "-").out == file.read_text() == "<!doctype html>\n<title>trees</title>\n"
    assert kubectl("report", "trees", "-o", "-", "--open").code == 2
    refused = kubectl("report", "trees", "-o", tmp_path / "no/such/folder.html")
    assert (refused.code, "cannot be written (No such file or directory)" in refused.err) == (2, True)
    early = kubectl("report", "flowers")
    assert (early.code, "its report is written at its end" in early.err) == (1, True)


def test_a_report_is_shown_where_there_is_a_browser(
    kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    file = tmp_path / "page.html"

    def no_browser(url: str) -> bool:
        shown.append(url)
        return False

    monkeypatch.setattr(webbrowser, "open", no_browser)
    ended = kubectl("report", "trees", "-o", file, "--open")
    assert shown == [file.as_uri()]
    assert (ended.code, ended.out, ended.err) == (0, f"{file}\n", f"no browser was found: open {file} yourself\n")


def test_suspend_resume_retry(kubectl: Kubectl, fake: FakeRunClient) -> None:
    assert kubectl("suspend", "flowers").out == "flowers is asked to save and end\n"
    assert fake.get("flowers").spec.suspend
    assert kubectl("resume", "ftr/flowers").out == "flowers goes on\n"
    assert not fake.get("flowers").spec.suspend
    assert kubectl("retry", "birds").out == "birds starts again, restart 1\n"
    refused = kubectl("retry", "trees")
    assert (refused.code, refused.err) == (1, "run 'trees' is Succeeded: only a Failed run can be retried\n")


def test_wait_ends_with_the_outcome(kubectl: Kubectl, fake: FakeRunClient) -> None:
    good = kubectl("wait", "trees")
    assert good.code == 0
    assert good.out == "trees: Succeeded, image_retrieval_recall@5 21.7 % to 46.7 % (+25.0)\n"
    assert re.fullmatch(r"\d\d:\d\d:\d\d  Succeeded\n", good.err)
    bad = kubectl("wait", "birds")
    assert (bad.code, bad.out) == (65, "")
    assert bad.err.endswith("run 'birds' failed, DataInvalid: s3://runs/captions.csv:3: no image birds/3.png\n")
    late = kubectl("wait", "flowers", "--timeout", "0.2s")
    assert late.code == 124
    assert late.err.endswith("run 'flowers' did not come to finished within 0.2 s: it is Running, and goes on\n")
    assert kubectl("wait", "birds", "--for", "failed").code == 0
    assert kubectl("wait", "flowers", "--for", "condition=Accepted").out == "flowers: Running\n"


CODES = {"GateNotMet": 80, "StorageDenied": 77, "Diverged": 71, "OutOfMemory": 1, "DeadlineExceeded": 1, "Hung": 74}


@pytest.mark.parametrize(("reason", "code"), CODES.items())
def test_a_failures_exit_code_is_its_reasons(kubectl: Kubectl, fake: FakeRunClient, reason: str, code: int) -> None:
    fake.fail("flowers", reason, "so it is")
    assert kubectl("wait", "flowers").code == code


def test_wait_refuses_what_it_cannot_read(kubectl: Kubectl) -> None:
    assert (
        "'5 minutes' is no duration: write 90s, 30m, 2h or 1h30m" in kubectl("wait", "x", "--timeout", "5 minutes").err
    )
    ended = kubectl("wait", "trees", "--for", "done")
    assert (ended.code, "write finished, a state (Pending, Queued" in ended.err) == (2, True)


def test_delete_asks_a_person_and_nobody_else(
    kubectl: Kubectl, fake: FakeRunClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    refused = kubectl("delete", "trees")
    assert refused.code == 2
    assert refused.err == "Delete run trees in namespace team-a? Nobody can be asked here: give --yes\n"
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert kubectl("delete", "trees").code == 130
    assert fake.get("trees")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert kubectl("delete", "trees").out == "trees deleted\n"
    assert "result.json" in [entry.key for entry in fake._memory.open_store("s3://runs/output/trees", None).list()]


def test_delete_with_artifacts_names_what_it_left(kubectl: Kubectl, fake: FakeRunClient) -> None:
    store = fake._memory.open_store("s3://runs/output/trees", None)
    for index in range(7):
        store.write(f"notes-{index}.txt", b"mine")
    ended = kubectl("delete", "trees", "--artifacts", "--yes")
    assert ended.out == "trees and 5 stored objects deleted\n"
    assert ended.err.startswith(
        "left alone, since no run of this output writes such objects:\n  s3://runs/output/trees/n"
    )
    assert ended.err.endswith("\n  and 2 more\n")
    both = kubectl("delete", "birds", "finetunerun.finetune.dev/flowers", "-y")
    assert both.out == "birds deleted\nflowers deleted\n"


def test_storage_is_made_from_the_environment_or_options(kubectl: Kubectl, fake: FakeRunClient, tmp_path: Path) -> None:
    variables = {
        "AWS_ENDPOINT_URL": "https://s3.example.com",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "eu-1",
    }
    made = kubectl("storage", "create", **variables)
    assert (made.code, made.out) == (0, "secret/finetune-storage created in namespace team-a\n")
    assert fake._memory.read_secret("team-a", "finetune-storage") == {
        "endpoint": b"https://s3.example.com",
        "accessKey": b"key",
        "secretKey": SECRET_KEY.encode(),
        "region": b"eu-1",
    }
    again = kubectl("storage", "create", **variables)
    assert (again.code, "give --replace" in again.err) == (1, True)
    (tmp_path / "key").write_text(f"{SECRET_KEY}\n")
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----")
    options = ("--endpoint", "http://minio:9000", "--access-key", "other", "--secret-key-file", tmp_path / "key")
    done = kubectl("storage", "create", "--name", "mine", "--replace", "--ca-file", tmp_path / "ca.crt", *options)
    assert done.out == "secret/mine written in namespace team-a\n"
    assert set(fake._memory.read_secret("team-a", "mine")) == {"endpoint", "accessKey", "secretKey", "ca.crt"}
    assert SECRET_KEY not in "".join(ended.out + ended.err for ended in (made, again, done))


WRONG = {
    "nothing given": ([], {}, "the endpoint is missing: give --endpoint, or set AWS_ENDPOINT_URL"),
    "no secret key": (
        ["--endpoint", "http://a", "--access-key", "k"],
        {},
        "the secret key is missing: give --secret-key-file, or set AWS_SECRET_ACCESS_KEY",
    ),
    "keys that end": ([], {"AWS_SESSION_TOKEN": "x"}, "AWS_SESSION_TOKEN is set: such keys end while runs still train"),
    "no scheme": (
        ["--endpoint", "minio:9000", "--access-key", "k"],
        {"AWS_SECRET_ACCESS_KEY": SECRET_KEY},
        "the endpoint is 'minio:9000': write http://HOST:PORT or https://HOST",
    ),
    "the secret key as an option": (["--secret-key", SECRET_KEY], {}, "No such option '--secret-key'"),
    "no such file": (
        ["--endpoint", "http://a", "--access-key", "k", "--secret-key-file", "/no/such"],
        {},
        "--secret-key-file /no/such cannot be read: No such file or directory",
    ),
}


@pytest.mark.parametrize(("arguments", "env", "message"), WRONG.values(), ids=WRONG)
def test_storage_says_what_is_missing(
    kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch, arguments: list[str], env: dict[str, str], message: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    ended = kubectl("storage", "create", *arguments, **env)
    assert ended.code != 0
    assert message in ended.err
    assert SECRET_KEY not in ended.err


def test_every_reason_and_state_has_its_advice() -> None:
    assert set(BY_REASON) == set(REASONS)
    run = FinetuneRun.model_validate(a_run("x", namespace="team-a"))
    for reason in REASONS:
        for state in ("Starting", "Failed"):
            told = run.model_copy(update={"status": run.status.model_copy(update={"state": state, "reason": reason})})
            assert_commands_exist(what_next(told))
    held_up = run.status.model_copy(update={"state": "Failed", "reason": reasons.UNSCHEDULABLE})
    assert "retry x -n team-a" in what_next(run.model_copy(update={"status": held_up}))
    assert set(BY_STATE) | {"Pending", "Failed"} >= {"Queued", "Running", "Suspended", "Succeeded"}


def assert_commands_exist(advice: str) -> None:
    """Commands of ours parse, with all their options."""
    assert advice
    assert "{" not in advice
    for found in re.findall(r"`kubectl finetune ([^`]*)`", advice):
        words = found.split()
        command: click.Command = kubectl_finetune
        while isinstance(command, click.Group):
            with click.Context(command) as context:
                name, inner, words = command.resolve_command(context, words)
            assert inner is not None, found
            command = inner
        command.make_context(name, list(words), resilient_parsing=True)


def test_every_command_has_help_that_names_its_options(kubectl: Kubectl) -> None:
    for name in SUBCOMMANDS:
        assert f"Usage: kubectl finetune {name}" in kubectl(name, "--help").out
    assert "Did you mean list?" in kubectl("lst").err


AGES = {0: "0s", 119: "119s", 120: "2m", 330: "5m30s", 5_400: "90m", 19_800: "5h30m", 144_000: "40h", 273_600: "3d4h"}


@pytest.mark.parametrize(("seconds", "text"), AGES.items())
def test_ages_are_as_kubectl_shows_them(seconds: int, text: str) -> None:
    assert duration(seconds) == text
    assert GateNotMet.exit_code == 80
