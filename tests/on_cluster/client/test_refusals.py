"""What the API server really answers, and what the client makes of it: refusals, cuts, forgotten versions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_sdk.client import (
    CrdMissing,
    Forbidden,
    InvalidRun,
    NotFound,
    Refused,
    RunClient,
    Unauthorized,
    Unreachable,
)
from finetune_sdk.client.cluster import Scope, WatchExpired
from tests.on_cluster.client.conftest import StandIn
from tests.on_cluster.client.relay import a_relay
from tests.on_cluster.conftest import Kube
from tests.support.client_contract import SOON, a_run, later
from tests.support.processes import wait_until


def config_of(control_plane: Path, path: Path, *, token: str = "", server: str = "") -> Path:
    """The administrator's kubeconfig with another token or server."""
    config = json.loads(control_plane.read_text())
    if token:
        config["users"][0]["user"]["token"] = token
    if server:
        config["clusters"][0]["cluster"]["server"] = server
    path.write_text(json.dumps(config))
    return path


def test_rights_that_are_missing_are_named(control_plane: Path, namespace: str, tmp_path: Path) -> None:
    config = config_of(control_plane, tmp_path / "config", token="proxy-token")
    with RunClient(kubeconfig=config, namespace=namespace) as runs:
        words = rf"you may not list finetuneruns\.finetune\.dev in namespace {namespace}: .*User \"system:kube-proxy\""
        with pytest.raises(Forbidden, match=words):
            runs.list()
        with pytest.raises(Forbidden, match=r"you may not create finetuneruns\.finetune\.dev"):
            runs.create(a_run("x"))


def test_credentials_that_are_none(control_plane: Path, tmp_path: Path) -> None:
    config = config_of(control_plane, tmp_path / "config", token="nobody")
    with RunClient(kubeconfig=config) as runs, pytest.raises(Unauthorized, match="does not accept your credentials"):
        runs.list()


def test_a_server_that_is_not_there(control_plane: Path, tmp_path: Path) -> None:
    config = config_of(control_plane, tmp_path / "config", server="https://127.0.0.1:1")
    words = r"the API server at https://127\.0\.0\.1:1 does not answer \(.*Connection refused.*\): look at your network"
    with RunClient(kubeconfig=config) as runs, pytest.raises(Unreachable, match=words):
        runs.get("x")
    asked = [sys.executable, "-c", "import sys; from finetune_sdk.cli.kubectl import main; sys.exit(main())", "list"]
    done = subprocess.run([*asked, "--kubeconfig", config], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr


def test_the_servers_own_mistakes_come_by_field(runs: RunClient) -> None:
    bad = a_run("bad")
    bad["spec"]["training"] = {"epochs": -1}
    bad["spec"]["evaluation"] = {"recallAt": [0]}
    with pytest.raises(InvalidRun) as told:
        runs._cluster.create_run(runs.namespace, bad)
    lines = str(told.value).splitlines()
    assert lines[0] == "the API server refuses to create run 'bad':"
    assert {line.partition(":")[0] for line in lines[1:]} == {"spec.training.epochs", "spec.evaluation.recallAt[0]"}
    unknown = a_run("bad")
    unknown["spec"]["colour"] = "red"
    with pytest.raises(InvalidRun, match=r'strict decoding error: unknown field "spec.colour"'):
        runs._cluster.create_run(runs.namespace, unknown)


def test_a_namespace_that_is_not_there(runs: RunClient) -> None:
    with pytest.raises(NotFound, match="namespace 'nowhere' does not exist: kubectl create namespace nowhere"):
        runs.create(a_run("x"), namespace="nowhere")


def test_without_a_secret_and_variables_nobody_has_keys(bare_runs: RunClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    bare_runs.create(a_run("x"))
    with pytest.raises(
        Refused, match=r"no Secret 'finetune-storage' in namespace .* `kubectl finetune storage create`"
    ):
        bare_runs.report("x")


def test_the_environments_keys_do_where_there_is_no_secret(
    bare_runs: RunClient, operator: StandIn, monkeypatch: pytest.MonkeyPatch, kube: Kube, output: str
) -> None:
    bare_runs.create(a_run("x", output))
    operator.succeed("x", before=0.1, after=0.2)
    kube("delete", "secret", "finetune-storage", "-n", bare_runs.namespace)
    for name, value in operator.storage.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    assert bare_runs.report("x").startswith(b"<!doctype html>")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert bare_runs.report("x", endpoint=operator.storage.endpoint).startswith(b"<!doctype html>")


def test_a_version_that_the_server_has_forgotten(runs: RunClient) -> None:
    with pytest.raises(WatchExpired):
        list(runs._cluster.watch_runs(Scope(runs.namespace), "1", 1.0))


def test_waiting_outlives_cuts_and_a_server_that_is_away(
    operator: StandIn, control_plane: Path, namespace: str, tmp_path: Path
) -> None:
    with a_relay(control_plane, tmp_path) as (relay, config), RunClient(kubeconfig=config, namespace=namespace) as runs:
        runs.create(a_run("tough"))
        seen: list[str] = []
        done = later(lambda: runs.wait("tough", timeout=SOON, on_change=lambda run: seen.append(run.status.state)))
        wait_until(lambda: seen == ["Pending"], "the first look")
        relay.cut()
        operator.progress("tough", percent=1)
        wait_until(lambda: seen == ["Pending", "Running"], "the change after a cut")
        relay.refusing = True
        relay.cut()
        wait_until(lambda: relay.refused > 2, "new connections refused")
        operator.succeed("tough", before=0.1, after=0.2)
        relay.refusing = False
        done.result(SOON)
        assert seen == ["Pending", "Running", "Succeeded"], "each change once"


def test_a_cluster_without_the_crd(runs: RunClient, kube: Kube) -> None:
    runs.create(a_run("x"))

    def is_unknown() -> bool:
        try:
            runs.list()
        except CrdMissing:
            return True
        return False

    kube("delete", "crd", "finetuneruns.finetune.dev", "--timeout=60s")
    try:
        wait_until(is_unknown, "the server, which goes on for a moment, serves it no more")
        with pytest.raises(CrdMissing, match="the cluster does not know FinetuneRun: install the operator with `helm"):
            runs.list()
        with pytest.raises(CrdMissing):
            runs.create(a_run("y"))
    finally:
        kube.learn_of_runs()
    wait_until(lambda: b"finetuneruns" in kube("get", "--raw", "/apis/finetune.dev/v1alpha1").encode(), "the CRD")
