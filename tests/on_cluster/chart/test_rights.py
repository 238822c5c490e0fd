"""What the API server lets an installed operator do: its list and no more; and people, by their roles."""

import itertools
import uuid
from collections.abc import Iterator

import pytest

from tests.on_cluster.chart.cluster import PATIENCE_SECONDS, Cluster
from tests.on_cluster.chart.helm import CHART, RELEASE, Json
from tests.on_cluster.chart.rights import EDIT, ON_LEASES, ON_RUNS, VIEW, Rights
from tests.on_cluster.faults.api import until

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
NEVER = [
    ("", "secrets"),
    ("", "configmaps"),
    ("", "pods/log"),
    ("", "pods/exec"),
    ("", "pods/attach"),
    ("", "pods/ephemeralcontainers"),
    ("", "pods/eviction"),
    ("", "serviceaccounts/token"),
    ("", "namespaces"),
    ("", "nodes"),
    ("apps", "deployments"),
    ("batch", "jobs/status"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("kueue.x-k8s.io", "workloads"),
]
ASKED = [*ON_RUNS, *ON_LEASES, *NEVER]


def joined(*several: Rights) -> Rights:
    """Of disjoint resources."""
    return {on: verbs for rights in several for on, verbs in rights.items()}


@pytest.fixture(scope="module")
def spaces(bare: Cluster) -> Iterator[tuple[str, str, str]]:
    """The operator's namespace, one with runs, and one that is none of its business."""
    with bare.namespace() as system, bare.namespace() as team, bare.namespace() as other:
        yield system, team, other


@pytest.mark.parametrize("named", [False, True], ids=["for all namespaces", "for named ones"])
def test_the_operator_may_do_what_is_listed_and_nothing_else(
    cluster: Cluster, spaces: tuple[str, str, str], named: bool
) -> None:
    system, team, other = spaces
    expected = {
        system: ON_LEASES if named else joined(ON_RUNS, ON_LEASES),
        team: ON_RUNS,
        other: {} if named else ON_RUNS,
    }
    values: Json = {"namespaces": [team] if named else []}
    with cluster.release(system, values):
        operator, stranger = cluster.token(system), cluster.token(system, "default")
        for namespace, wanted in expected.items():
            of_everybody = cluster.rights(stranger, namespace)
            listed = cluster.rights(operator, namespace)
            assert {on: verbs for on, verbs in listed.items() if of_everybody.get(on) != verbs} == wanted
        assert answers(cluster, system, team) == asked_of(ON_RUNS)


def answers(cluster: Cluster, system: str, namespace: str) -> set[tuple[str, str, str]]:
    """What the operator of `system` may do in `namespace`, of all that is asked."""
    user = f"system:serviceaccount:{system}:{RELEASE}"
    every = itertools.product(ASKED, VERBS)
    return {(*on, verb) for on, verb in every if cluster.may(user, verb, *on, namespace)}


def asked_of(rights: Rights) -> set[tuple[str, str, str]]:
    return {(*on, verb) for on, verbs in rights.items() for verb in verbs}


PEOPLE = {
    "view reads": ("view", VIEW),
    "edit makes and changes": ("edit", EDIT),
    "admin too": ("admin", EDIT),
}


@pytest.mark.parametrize(("role", "expected"), PEOPLE.values(), ids=PEOPLE)
def test_people_may_by_kubernetes_own_roles(
    cluster: Cluster, spaces: tuple[str, str, str], role: str, expected: Rights
) -> None:
    system, team, _ = spaces
    person = f"{role}-{uuid.uuid4().hex[:8]}"
    with cluster.release(system):
        cluster.kube("create", "rolebinding", person, "-n", team, f"--clusterrole={role}", f"--user={person}")

        def allowed() -> set[tuple[str, str, str]]:
            runs = ("finetune.dev", "finetuneruns")
            return {(*runs, verb) for verb in VERBS if cluster.may(person, verb, *runs, team)}

        until(
            lambda: allowed() == asked_of(expected), PATIENCE_SECONDS, allowed
        )  # roles are aggregated in the background
        assert not cluster.may(person, "patch", "finetune.dev", "finetuneruns/status", team)


def test_nobody_may_where_aggregation_is_off(cluster: Cluster, spaces: tuple[str, str, str]) -> None:
    system, _, _ = spaces

    def in_edit() -> bool:
        rules = cluster.api.call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/edit")["rules"]
        return any("finetune.dev" in rule.get("apiGroups", []) for rule in rules)

    until(lambda: not in_edit(), PATIENCE_SECONDS, lambda: "the roles of an earlier release are still there")
    with cluster.release(system):
        until(in_edit, PATIENCE_SECONDS, lambda: "never aggregated")
        cluster.helm("upgrade", RELEASE, CHART, "-n", system,
                     values={"crds": {"install": False}, "rbac": {"aggregate": False}})  # fmt: skip
        until(lambda: not in_edit(), PATIENCE_SECONDS, lambda: "still aggregated")
