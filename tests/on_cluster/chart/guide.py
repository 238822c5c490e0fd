"""A page of the docs, carried out: its commands in order, in a folder that looks like the repository's root."""

import contextlib
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML

from tests.cluster.lab import kubectl
from tests.on_cluster.chart import helm
from tests.on_cluster.chart.cluster import PATIENCE_SECONDS, Cluster
from tests.on_cluster.chart.helm import ROOT, Json

BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """Fenced blocks of a page."""

    path: Path

    def blocks(self, language: str) -> list[str]:
        """The text of each block of a language."""
        found = BLOCK.findall(self.path.read_text(encoding="utf-8"))
        return [text for name, text in found if name == language]

    def commands(self) -> list[str]:
        """Each line after a `$`, with those that continue it; what they print is left out."""
        lines = "\n".join(self.blocks("console")).replace("\\\n", " ").splitlines()
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]

    def documents(self) -> list[Json]:
        """What its YAML blocks say."""
        yaml = YAML(typ="safe")
        return [document for text in self.blocks("yaml") for document in yaml.load_all(text)]


@dataclass
class Reader:
    """Does what a page says, on `cluster`; operators that it installs run here, for there is no node."""

    cluster: Cluster
    folder: Path
    images: set[str] = field(default_factory=set)
    """Built so far."""
    installed: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def lay_out(self, page: Page) -> None:
        """The folder: the repository's, and the page's run.yaml."""
        for name in ("charts", "crds", "examples", "operator", "trainer_image"):
            (self.folder / name).symlink_to(ROOT / name)
        for document in page.documents():
            if document.get("kind") == "FinetuneRun":
                with (self.folder / "run.yaml").open("w") as file:
                    YAML().dump(document, file)

    def do(self, command: str) -> None:
        """One command; an AssertionError where it would not work for a reader."""
        words = shlex.split(command)
        match words:
            case ["docker", verb, *_]:
                self._docker(verb, words)
            case ["helm", verb, name, *rest]:
                self._helm(verb, name, rest)
            case ["kubectl", "get", *_, "-w"]:
                self._watch(words[1:])
            case ["kubectl", *rest]:
                done = self._kubectl(rest)
                assert done.returncode == 0, f"{command}: {done.stderr}"
            case _:
                raise AssertionError(f"a command that no test runs: {command}")

    def _docker(self, verb: str, words: list[str]) -> None:
        """There is no Docker here, and the images are built elsewhere: what is built must be there, and pushed."""
        if verb == "build":
            assert (self.folder / words[words.index("-f") + 1]).is_file(), words
            self.images.add(words[words.index("-t") + 1])
        else:
            assert verb == "push", words
            assert words[-1] in self.images, words

    def _helm(self, verb: str, name: str, rest: list[str]) -> None:
        with contextlib.chdir(self.folder):
            self.cluster.helm(verb, name, *rest)
        if verb == "install":
            namespace = rest[rest.index("-n") + 1]
            self.installed.enter_context(self.cluster.operator(namespace, self.folder, name))

    def _kubectl(self, words: list[str]) -> "subprocess.CompletedProcess[str]":
        with contextlib.chdir(self.folder):
            return self.cluster.kubectl(*words)

    def _watch(self, words: list[str]) -> None:
        """Until a run is seen to succeed."""
        command = [str(kubectl()), *words]
        env = self.cluster.kube.env
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as process:
            timer = threading.Timer(PATIENCE_SECONDS, process.kill)
            timer.start()
            assert process.stdout is not None
            seen = []
            for line in process.stdout:
                seen.append(line)
                if "Succeeded" in line:
                    break
            timer.cancel()
            process.kill()
        assert "Succeeded" in seen[-1], f"{' '.join(words)}: {''.join(seen)}"


@contextlib.contextmanager
def reading(cluster: Cluster, page: Page, folder: Path) -> Iterator[Reader]:
    """A reader of `page`; whatever is left of releases and namespaces goes afterwards."""
    before = set(cluster.kube("get", "namespaces", "-o", "name").split())
    reader = Reader(cluster, folder)
    reader.lay_out(page)
    try:
        with reader.installed:
            yield reader
    finally:
        listed = cluster.helm("list", "-A", "-o", "json")
        for release in YAML(typ="safe").load(listed):
            helm.call("uninstall", release["name"], "-n", release["namespace"], kubeconfig=cluster.kubeconfig)
        made = set(cluster.kube("get", "namespaces", "-o", "name").split()) - before
        if made:
            cluster.kube("delete", *made)
