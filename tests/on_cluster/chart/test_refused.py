"""Values that cannot be right fail before anything is installed, by a message that names key and value."""

import re
from collections.abc import Iterator

import pytest
from ruamel.yaml import YAML

from tests.on_cluster.chart.helm import CHART, Json, call, refusal, together

VALUES: Json = YAML(typ="safe").load(CHART / "values.yaml")
BAD_DIGEST = "sha256:abc"
TYPO: Json = {"podAffinity": {"requiredDuringScheduling": []}}
REFUSED: dict[str, tuple[str, object, str]] = {
    "an operator's image with its tag in the repository": ("image.repository", "r.example.com/o:1", "does not match"),
    "a short digest": ("image.digest", BAD_DIGEST, f"'{BAD_DIGEST}' does not match pattern '^(sha256:"),
    "a tag that is read as a number": ("image.tag", 1.0, "got number, want string"),
    "a pull policy": ("image.pullPolicy", "Sometimes", "must be one of 'Always', 'IfNotPresent', 'Never'"),
    "a pull secret without its key": ("imagePullSecrets", ["key"], "got string, want object"),
    "a trainer image without a name": ("trainer.image.repository", "", "does not match pattern"),
    "a trainer's digest": ("trainer.image.digest", BAD_DIGEST, f"'{BAD_DIGEST}' does not match pattern '^(sha256:"),
    "a quantity": ("trainer.memory", "16 GB", "'16 GB' does not match pattern"),
    "no CPU": ("trainer.cpu", 0, "exclusiveMinimum: got 0, want 0"),
    "a namespace": ("namespaces", ["Team_A"], "'Team_A' does not match pattern"),
    "a namespace twice": ("namespaces", ["a", "a"], "are equal"),
    "a namespace that is too long": ("namespaces", ["a" * 64], "maxLength: got 64, want 63"),
    "namespaces as a text": ("namespaces", "team-a", "got string, want array"),
    "replicas": ("replicas", -1, "minimum: got -1, want 0"),
    "replicas as a text": ("replicas", "two", "got string, want integer"),
    "a log level": ("logLevel", "verbose", "must be one of 'debug', 'info', 'warning', 'error'"),
    "a resource's amount": ("resources.limits.memory", "much", "'much' does not match pattern"),
    "a node label that is no text": ("nodeSelector.gpu", True, "got boolean, want string"),
    "a mistyped affinity": ("affinity", TYPO, "'requiredDuringScheduling' not allowed"),
    "a mistyped toleration": ("tolerations", [{"kee": "gpu"}], "'kee' not allowed"),
    "a name with capitals": ("fullnameOverride", "Finetune", "'Finetune' does not match pattern"),
    "a name that is too long": ("nameOverride", "n" * 64, "maxLength: got 64, want 63"),
    "an account's name": ("serviceAccount.name", "my account", "'my account' does not match pattern"),
    "a switch as a text": ("crds.install", "yes", "got string, want boolean"),
    "a switch of the rights": ("rbac.aggregate", "on", "got string, want boolean"),
    "a switch of the Service": ("service.create", 1, "got number, want boolean"),
    "a port": ("networkPolicy.apiServerPorts", [70000], "maximum: got 70,000, want 65,535"),
    "no port": ("networkPolicy.apiServerPorts", [], "minItems: got 0, want 1"),
}


@pytest.mark.parametrize(("path", "_", "message"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_value(path: str, _: object, message: str) -> None:
    """All wrong values of a file are told at once, a line each."""
    wrong = together((path, value) for path, value, _ in REFUSED.values())
    lines = [line.strip() for document in wrong for line in refusal(document).splitlines()]
    place = f"- at '/{path.replace('.', '/')}"
    assert [line for line in lines if line.startswith(place) and message in line]


def sections(values: Json, path: str = "") -> Iterator[str]:
    """Every map of values.yaml that has keys of its own, the outermost as ''."""
    yield path
    for name, below in values.items():
        if isinstance(below, dict) and below:
            yield from sections(below, f"{path}.{name}".strip("."))


SECTIONS = [one for one in sections(VALUES) if not one.startswith("resources.")]


@pytest.mark.parametrize("path", SECTIONS)
def test_an_unknown_key_at_every_level(path: str) -> None:
    (everywhere,) = together((f"{one}.oops".strip("."), "x") for one in SECTIONS)
    place = f"/{path.replace('.', '/')}" if path else ""
    assert f"- at '{place}': additional properties 'oops' not allowed" in refusal(everywhere)


def test_no_account_is_made_and_none_named() -> None:
    said = refusal({"serviceAccount": {"create": False}})
    assert "serviceAccount.name is needed where serviceAccount.create is false" in said


def test_a_cluster_that_is_too_old() -> None:
    done = call("template", "r", CHART, "--kube-version", "1.31.9")
    assert "chart requires kubeVersion: >=1.32.0-0 which is incompatible with Kubernetes v1.31.9" in done.stderr
    assert call("template", "r", CHART, "--kube-version", "v1.33.4-gke.1000").returncode == 0


def test_lint_has_nothing_to_say() -> None:
    done = call("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout
    assert not re.findall(r"\[(WARNING|ERROR)\]", done.stdout)
