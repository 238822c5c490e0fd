"""The chart through helm, as its users meet it."""

import itertools
import json
import os
import subprocess
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.cluster.binaries import VERSION as KUBERNETES
from tests.cluster.binaries import helm

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts/finetune-operator"
RELEASE, SYSTEM = "finetune-operator", "finetune-system"


@dataclass(frozen=True)
class Rendered:
    """What the chart makes of some values."""

    objects: list[Json]

    def of(self, kind: str) -> list[Json]:
        """All objects of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str) -> Json:
        """The only object of its kind."""
        (found,) = self.of(kind)
        return found

    def names(self) -> set[tuple[str, str, str]]:
        """Kind, namespace and name of each object."""
        return {_name(one) for one in self.objects}

    @property
    def pod(self) -> Json:
        """The spec of the operator's pods."""
        spec: Json = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Json:
        """The operator's container."""
        (found,) = self.pod["containers"]
        container: Json = found
        return container


def _name(one: Json) -> tuple[str, str, str]:
    metadata = one["metadata"]
    return one["kind"], metadata.get("namespace", ""), metadata["name"]


def call(*words: str | Path, stdin: str = "", kubeconfig: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """helm, to its end; without `kubeconfig` it reaches no cluster."""
    env = {**os.environ, "KUBECONFIG": str(kubeconfig or "/dev/null")}
    return subprocess.run([helm(), *words], input=stdin, env=env, capture_output=True, text=True, check=False)


@lru_cache
def _template(values: str, release: str, namespace: str) -> "subprocess.CompletedProcess[str]":
    # A helm that `go install` built believes in Kubernetes 1.20 where no cluster tells it otherwise.
    words = ("template", release, CHART, "-n", namespace, "--kube-version", KUBERNETES, "-f", "-")
    return call(*words, stdin=values)


@lru_cache
def _objects(text: str) -> list[Json]:
    return [one for one in YAML(typ="safe").load_all(text) if one]


def render(values: Json | None = None, *, release: str = RELEASE, namespace: str = SYSTEM) -> Rendered:
    """`helm template`; each object is there once."""
    done = _template(json.dumps(values or {}), release, namespace)
    assert done.returncode == 0, done.stderr
    rendered = Rendered(deepcopy(_objects(done.stdout)))
    assert len(rendered.names()) == len(rendered.objects), "two objects of one name"
    return rendered


def refusal(values: Json, *, release: str = RELEASE, namespace: str = SYSTEM) -> str:
    """What helm says of values that the chart refuses."""
    done = _template(json.dumps(values), release, namespace)
    assert done.returncode != 0, f"accepted: {values}"
    return done.stderr


def together(values: Iterable[tuple[str, object]]) -> list[Json]:
    """Values by paths such as image.tag, as few documents as hold them: a path's second value is in the second."""
    documents: list[Json] = []
    for path, value in values:
        *sections, name = path.split(".")
        for number in itertools.count():
            if number == len(documents):
                documents.append({})
            below = documents[number]
            for section in sections:
                below = below.setdefault(section, {})
            if name not in below:
                below[name] = value
                break
    return documents
