"""The two guides, carried out on a real API server: each command and each Python block, in their order."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from finetune_sdk.cli.kubectl import main
from finetune_sdk.client import RunClient
from tests.on_cluster.client.conftest import StandIn
from tests.on_cluster.client.kubelet import Kubelet, a_kubelet
from tests.on_cluster.client.terminal import at_a_terminal
from tests.on_cluster.conftest import Kube
from tests.support.minio import S3Server
from tests.support.processes import wait_until

NAME = "my-pictures"
GUIDES = Path(__file__).resolve().parents[3] / "docs/guides"
KUBECTL_GUIDE, PYTHON_GUIDE = GUIDES / "kubectl-finetune.md", GUIDES / "python-client.md"
_BLOCK = re.compile(r"^```(\w+)[ ]?([\w./-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(page: Path, language: str) -> dict[str, str]:
    """The texts of a language's blocks, by the file's name after it or by their number."""
    found = [(name, text) for kind, name, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]
    return {name or str(number): text for number, (name, text) in enumerate(found)}


@pytest.fixture
def kubelet(kube: Kube, tmp_path: Path) -> Iterator[Kubelet]:
    with a_kubelet(kube, tmp_path / "kubelet") as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the guide's run.yaml."""
    made = tmp_path / "reader"
    made.mkdir()
    for name, text in blocks_of(KUBECTL_GUIDE, "yaml").items():
        (made / name).write_text(text)
    return made


@pytest.fixture
def env(control_plane: Path, namespace: str, tmp_path: Path) -> dict[str, str]:
    """The reader's: the programs on PATH, a context of their namespace, no keys."""
    config = json.loads(control_plane.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "FINETUNE_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": path}


@dataclass
class Play:
    """What operator, trainer and kubelet do before a command of the guide is given."""

    runs: RunClient
    operator: StandIn
    kubelet: Kubelet
    pods: list[str] = field(default_factory=list)

    def before(self, command: str) -> None:
        for start, act in self._acts.items():
            if command.startswith(start):
                act()

    @property
    def _acts(self) -> dict[str, Callable[[], None]]:
        return {
            "kubectl finetune list": self._train,
            "kubectl finetune logs -f": self._end,
            "kubectl finetune wait my-pictures --for": self._again,
            "kubectl finetune retry": self._fail,
        }

    def _train(self) -> None:
        if not self.pods:
            self.operator.progress(NAME, percent=42)
            self.pods.append(self.kubelet.pod(self.runs.get(NAME), 1))
            self.kubelet.write(self.pods[0], "step 126 of 300")

    def _end(self) -> None:
        self.kubelet.end(self.pods[0], self.runs.namespace, "Succeeded")
        self.operator.succeed(NAME, before=0.2167, after=0.4667)

    def _again(self) -> None:
        self.operator.progress(NAME, percent=1)

    def _fail(self) -> None:
        self.operator.fail(NAME, "StorageUnavailable", "s3://runs is full")


@dataclass
class Reader:
    """Gives the guide's commands: those that ask at a terminal, other programs as such, the rest in this process."""

    storage: S3Server
    folder: Path
    env: dict[str, str]
    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def __call__(self, command: str) -> str:
        """What it prints; its failure is the test's."""
        words = shlex.split(command)
        if words[:2] != ["kubectl", "finetune"]:
            done = subprocess.run(words, env=self.env, cwd=self.folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}: {done.stderr}"
            return done.stdout
        if words[2] in ("storage", "delete"):
            talk = at_a_terminal(words, self._answers, env=self.env, folder=self.folder)
            assert talk.code == 0, f"{command}: {talk.shown}{talk.out}"
            assert self.storage.secret_key not in talk.shown
            return talk.out
        self.capfd.readouterr()
        with self.monkeypatch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("KUBECONFIG", self.env["KUBECONFIG"])
            patch.setattr(webbrowser, "open", lambda _: True)
            code = main(words[2:])
        told = self.capfd.readouterr()
        assert code == 0, f"{command}: {told.err}"
        return told.out

    @property
    def _answers(self) -> dict[str, str]:
        keys = {"Access key:": self.storage.access_key, "Secret key:": self.storage.secret_key}
        return {"Endpoint:": self.storage.endpoint, **keys, "[y/N]:": "y"}


def test_the_commands_of_the_kubectl_guide(
    bare_runs: RunClient,
    control_plane: Path,
    storage: S3Server,
    kubelet: Kubelet,
    folder: Path,
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    play = Play(bare_runs, StandIn(bare_runs, control_plane, storage), kubelet)
    told = "".join(blocks_of(KUBECTL_GUIDE, "console").values()).splitlines()
    commands = [line.removeprefix("$ ") for line in told if line.startswith("$ ")]
    assert len(commands) > 20
    reader = Reader(storage, folder, env, monkeypatch, capfd)
    answers: dict[str, str] = {}
    for command in commands:
        play.before(command)
        answers[command] = reader(command)
        assert storage.secret_key not in answers[command]
    assert f"{NAME}: Succeeded, image_retrieval_recall@5 21.7 % to 46.7 % (+25.0)\n" in answers.values()
    assert answers["kubectl finetune logs -f my-pictures"] == "step 126 of 300\n"
    assert (folder / "report.html").read_bytes() == (folder / "page.html").read_bytes() == b"<!doctype html>\n"
    assert bare_runs.list() == []


def test_what_kubectl_itself_completes(runs: RunClient, folder: Path, env: dict[str, str]) -> None:
    runs.create(folder / "run.yaml")
    asked = ["kubectl", "__complete", "finetune", "status", "my"]
    done = subprocess.run(asked, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [NAME, ":4"]


def act_alone(runs: RunClient, operator: StandIn, kubelet: Kubelet, over: threading.Event) -> None:
    """Whatever is created trains and succeeds, or fails if it is named so."""
    for change in runs.watch(timeout=120):
        name = change.run.metadata.name
        if over.is_set():
            return
        if change.kind != "added":
            continue
        if name.startswith("bad"):
            operator.fail(name, "DataInvalid", "s3://runs/captions.csv:3: no image")
        else:
            pod = kubelet.pod(change.run, 1)
            kubelet.write(pod, "step 1")
            operator.progress(name, percent=42)
            kubelet.end(pod, runs.namespace, "Succeeded")
            operator.succeed(name, before=0.2167, after=0.4667)


def test_the_blocks_of_the_python_guide(
    runs: RunClient,
    operator: StandIn,
    kubelet: Kubelet,
    folder: Path,
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KUBECONFIG", env["KUBECONFIG"])
    over = threading.Event()
    acting = threading.Thread(target=act_alone, args=(runs, operator, kubelet, over), daemon=True)
    acting.start()
    names: dict[str, object] = {}
    blocks = blocks_of(PYTHON_GUIDE, "python")
    assert len(blocks) == 6
    for block in blocks.values():
        exec(compile(block, str(PYTHON_GUIDE), "exec"), names)  # noqa: S102 - the page's own text
    over.set()
    runs.create(
        {
            **json.loads(runs.get("bad-pictures").model_dump_json(by_alias=True, exclude_unset=True)),
            "metadata": {"name": "end"},
        }
    )
    wait_until(lambda: not acting.is_alive(), "the stand-in's end")
    out = capsys.readouterr().out
    assert "image_retrieval_recall@5 0.2167 0.4667" in out
    assert "DataInvalid s3://runs/captions.csv:3: no image 65" in out
    assert "my-pictures-trainer-1 step 1" in out
    assert [run.metadata.name for run in runs.list()] == ["bad-pictures", "end"]
    tests = {name: one for name, one in names.items() if name.startswith("test_")}
    assert len(tests) == 2
    for test in tests.values():
        assert callable(test)
        test()
