"""Names at their longest, and of releases beside each other."""

import re
from typing import Any

import pytest

from tests.on_cluster.chart.helm import Json, Rendered, refusal, render

ALL_ON: Json = {"replicas": 2, "networkPolicy": {"create": True}}
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
RBAC = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def names(rendered: Rendered) -> set[str]:
    return {name for kind, _, name in rendered.names() if kind != "CustomResourceDefinition"}


NAMED: dict[str, tuple[str, Json, str]] = {
    "a release that says what it is": ("finetune-operator", {}, "finetune-operator"),
    "a part of its name is enough": ("my-finetune-operator-2", {}, "my-finetune-operator-2"),
    "another release": ("team", {}, "team-finetune-operator"),
    "the chart's part replaced": ("team", {"nameOverride": "clip"}, "team-clip"),
    "all replaced": ("team", {"fullnameOverride": "clip"}, "clip"),
    "dots, which no Service has": ("v1.team", {}, "v1-team-finetune-operator"),
    "cut, and no dash at the end": ("r" * 53, {"nameOverride": "a" * 8 + "-" * 3 + "b"}, "r" * 53 + "-" + "a" * 8),
    "at the edge": ("r" * 45, {}, "r" * 45 + "-finetune-operator"),
    "over the edge": ("r" * 46, {}, "r" * 46 + "-finetune-operato"),
}


@pytest.mark.parametrize(("release", "values", "expected"), NAMED.values(), ids=NAMED)
def test_objects_are_named_after_the_release(release: str, values: Json, expected: str) -> None:
    deployment = render(values, release=release).one("Deployment")
    assert deployment["metadata"]["name"] == expected


@pytest.mark.parametrize("length", [55, 56, 57, 62, 63])
@pytest.mark.parametrize("namespaces", [[], ["team-a"]])
def test_the_longest_names_are_valid_and_distinct(length: int, namespaces: list[str]) -> None:
    full = "n" * (length - 1) + "9"
    rendered = render({**ALL_ON, "fullnameOverride": full, "namespaces": namespaces}, namespace="s" * 63)
    for kind, _, name in rendered.names():
        if kind not in {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}:
            assert LABEL.fullmatch(name), (kind, name)
            assert len(name) <= 63, (kind, name)
    suffixed = {name for name in names(rendered) if name.endswith(("-leader", "-progress"))}
    assert len(suffixed) == 1 + len(namespaces)
    for one in rendered.objects:
        for label in one["metadata"]["labels"].values():
            assert len(label) <= 63


def test_what_is_cut_does_not_make_two_names_one() -> None:
    leaders = set()
    for last in "ab":
        rendered = render({"fullnameOverride": "n" * 62 + last})
        leaders |= {name for name in names(rendered) if name.endswith("-leader")}
    assert len(leaders) == 2


def test_releases_of_one_name_in_two_namespaces_share_no_object() -> None:
    first, second = (render(ALL_ON, namespace=namespace) for namespace in ("finetune-a", "finetune-b"))
    assert {name for _, _, name in first.names() & second.names()} == {"finetuneruns.finetune.dev"}


def test_names_that_join_to_the_same_text_stay_apart() -> None:
    first = render(release="c-finetune-operator", namespace="a-b")
    second = render(release="b-c-finetune-operator", namespace="a")
    assert not {name for kind, _, name in first.names() & second.names() if kind in RBAC}


def test_a_release_that_no_service_can_be_named_after_is_refused() -> None:
    said = refusal({}, release="1st")
    assert 'begins with a letter, "1st-finetune-operator" does not' in said
    assert "set fullnameOverride" in said
    assert render({"fullnameOverride": "first"}, release="1st").one("Service")["metadata"]["name"] == "first"


PLAIN = ("system-a", "release-a", "full-a", "part-a", "account-a", "class-a", "team-a", "team-b")
SHAPES: dict[str, Json] = {
    "an account of its own": {"serviceAccount": {"create": True, "name": "account-a"}},
    "for all": {"namespaces": []},
    "named after the release": {"fullnameOverride": "", "nameOverride": ""},
}


def everywhere(document: Any, words: dict[str, str]) -> Any:
    """The document with each of `words` replaced by what is given for it, wherever it stands."""
    if isinstance(document, dict):
        return {key: everywhere(value, words) for key, value in document.items()}
    if isinstance(document, list):
        return [everywhere(value, words) for value in document]
    if isinstance(document, str):
        return re.sub("|".join(words), lambda found: words[found[0]], document)
    return document


@pytest.mark.parametrize("word", ["2024", "null", "true", "1e3", "0x10", "2024-01-01"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_names_that_yaml_takes_for_something_else_stay_names(shape: Json, word: str) -> None:
    """Those of objects begin with a letter, which leaves null and its like."""
    words = dict.fromkeys(PLAIN, word) | {"team-b": "0"}
    words |= dict.fromkeys(("release-a", "full-a", "part-a"), word if word.isalpha() else "null")
    values = {**ALL_ON, "fullnameOverride": "full-a", "nameOverride": "part-a", "priorityClassName": "class-a",
              "crds": {"install": False}, "namespaces": ["team-a", "team-b"], **shape}  # fmt: skip
    plain = render(values, release="release-a", namespace="system-a")
    misread = render(everywhere(values, words), release=words["release-a"], namespace=word)
    assert misread.objects == everywhere(plain.objects, words)
