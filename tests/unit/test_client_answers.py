"""The API server's refusals, as sentences that say what would work."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_sdk.client import (
    AlreadyExists,
    ClientError,
    Conflict,
    CrdMissing,
    Forbidden,
    InvalidRun,
    NoCluster,
    NoLogs,
    NotFound,
    ServerError,
    Unauthorized,
)
from finetune_sdk.client import errors as tree
from finetune_sdk.client.answers import LOGS, RUNS, Asked, refusal
from finetune_sdk.client.connect import connect
from finetune_sdk.client.errors import exit_code_of
from finetune_sdk.client.selectors import matches
from finetune_sdk.errors import FinetuneError

CREATE = Asked("create", RUNS, "team-a", "x")


def status(message: str, **more: Any) -> str:
    return json.dumps({"kind": "Status", "message": message, **more})


CANNOT = 'secrets "finetune-storage" is forbidden: User "ann" cannot get resource "secrets"'
CAUSES = [{"field": "spec.training.epochs", "message": "Invalid value: -1: should be at least 1"}]
ROWS: dict[str, tuple[Asked, int, str, type[ClientError], str]] = {
    "rights": (
        Asked("list", RUNS),
        403,
        status('finetuneruns.finetune.dev is forbidden: User "ann" cannot list resource'),
        Forbidden,
        "you may not list finetuneruns.finetune.dev in all namespaces: ask for the role view (to read) or edit",
    ),
    "rights to a Secret": (
        Asked("get", "secrets", "team-a", "finetune-storage"),
        403,
        status(CANNOT),
        Forbidden,
        "you may not get secrets in namespace team-a: ask for the role edit in the namespace",
    ),
    "a policy": (
        CREATE,
        403,
        status("denied by policy no-gpu-on-monday"),
        Forbidden,
        "team-a: denied by policy no-gpu",
    ),
    "no login": (CREATE, 401, status("Unauthorized"), Unauthorized, "does not accept your credentials (Unauthorized)"),
    "no CRD": (CREATE, 404, "404 page not found\n", CrdMissing, "helm install finetune-operator"),
    "no namespace": (
        CREATE,
        404,
        status('namespaces "team-a" not found', details={"kind": "namespaces"}),
        NotFound,
        "namespace 'team-a' does not exist: kubectl create namespace team-a",
    ),
    "no pod": (Asked("get", LOGS, "a", "p"), 404, status("not found"), NotFound, "no pods/log 'p' in namespace a"),
    "taken": (
        CREATE,
        409,
        status("", reason="AlreadyExists"),
        AlreadyExists,
        "run 'x' exists already in namespace team-",
    ),
    "conflict": (CREATE, 409, status("", reason="Conflict"), Conflict, "run 'x' was changed by somebody else just now"),
    "invalid": (
        CREATE,
        422,
        status("long and unreadable", reason="Invalid", details={"causes": CAUSES}),
        InvalidRun,
        "refuses to create run 'x':\nspec.training.epochs: Invalid value: -1: should be at least 1",
    ),
    "unknown field": (
        CREATE,
        400,
        status(
            'FinetuneRun in version "v1alpha1" cannot be handled as a FinetuneRun: strict decoding error: unknown x'
        ),
        InvalidRun,
        "run 'x':\nstrict decoding error: unknown x",
    ),
    "no container yet": (Asked("get", LOGS, "a", "p"), 400, status("waiting to start"), NoLogs, "pod p has no log yet"),
    "too busy": (
        CREATE,
        429,
        status("slow down"),
        ServerError,
        "failed to create finetuneruns.finetune.dev (429: slow",
    ),
    "a proxy": (CREATE, 502, "<html>Bad\nGateway</html>", ServerError, "(502: <html>Bad Gateway</html>): try again"),
    "anything else": (
        CREATE,
        405,
        "",
        ClientError,
        "refuses to create finetuneruns.finetune.dev in namespace team-a: no",
    ),
}


@pytest.mark.parametrize(("asked", "code", "body", "kind", "words"), ROWS.values(), ids=ROWS)
def test_a_refusal_is_a_sentence(asked: Asked, code: int, body: str, kind: type[ClientError], words: str) -> None:
    error = refusal(asked, code, body)
    assert type(error) is kind
    assert words in str(error)


def test_the_tree_that_the_module_draws_is_the_tree() -> None:
    drawn = [line.split("── ")[1].split()[0] for line in (tree.__doc__ or "").splitlines() if "── " in line]
    there = [kind.__name__ for kind in descendants(ClientError) if kind.__module__ == tree.__name__]
    assert sorted(drawn) == sorted(["ClientError", *there])


def descendants(kind: type[Exception]) -> list[type[Exception]]:
    return [found for child in kind.__subclasses__() for found in (child, *descendants(child))]


def test_exit_codes_are_the_trainers() -> None:
    for kind in descendants(FinetuneError):
        if kind.__module__ == "finetune_sdk.errors" and issubclass(kind, FinetuneError) and kind.reason != "Usage":
            assert exit_code_of(kind.reason) in {kind.exit_code, 65}
    assert exit_code_of("OutOfMemory") == exit_code_of("ClientError") == 1


KUBECONFIGS = {
    "empty": ("", "file is empty"),
    "no context": ("apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: []\n", "cannot be used"),
    "no YAML": ("{", "cannot be used"),
    "a dangling context": (
        "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: gone, user: u}}]}",
        "cannot be used",
    ),
}


@pytest.mark.parametrize(("text", "words"), KUBECONFIGS.values(), ids=KUBECONFIGS)
def test_a_kubeconfig_that_is_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(NoCluster, match=words) as told:
        connect(path)
    assert str(path) in str(told.value)


def test_contexts_are_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nusers: [{name: u, user: {token: t}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: a, context: {cluster: c, user: u}}, "
        "{name: b, context: {cluster: c, user: u, namespace: n}}]\n"
    )
    assert (connect(path).namespace, connect(path, "b").namespace) == ("default", "n")
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert connect(context="b").client.configuration.host == "http://127.0.0.1:1"
    with pytest.raises(NoCluster, match=r"has no context 'x', only a, b"):
        connect(context="x")
    with pytest.raises(NoCluster, match=r"there is no kubeconfig at .*none: set KUBECONFIG, or give --kubeconfig"):
        connect(tmp_path / "none")


SELECTORS = {
    "a=1": True,
    "a==1,b!=2": True,
    "a=2": False,
    "!c": True,
    "!a": False,
    "a": True,
    "c": False,
    "a in (1, 2),b notin (1)": True,
    "a notin (1,2)": False,
    "": True,
}


@pytest.mark.parametrize(("selector", "holds"), SELECTORS.items())
def test_selectors(selector: str, holds: bool) -> None:
    assert matches(selector, {"a": "1", "b": "x"}) is holds
