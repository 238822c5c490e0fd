"""Roles as they are rendered, and the page that lists them."""

import pytest

from tests.on_cluster.chart.helm import SYSTEM, Json, render
from tests.on_cluster.chart.rights import (
    EDIT,
    ON_LEASES,
    ON_RUNS,
    VIEW,
    Rights,
    rights_of,
    rights_of_page,
)

OWN = {"rbac": {"aggregate": False}}


def granted(roles: list[Json]) -> dict[tuple[str, str], Rights]:
    """The rights of roles by their namespace and name."""
    return {(one["metadata"].get("namespace", ""), one["metadata"]["name"]): rights_of(one["rules"]) for one in roles}


def test_for_all_namespaces_one_cluster_role_and_the_lease_beside_the_operator() -> None:
    rendered = render(OWN)
    assert granted(rendered.of("ClusterRole")) == {("", "finetune-system:finetune-operator"): ON_RUNS}
    assert granted(rendered.of("Role")) == {(SYSTEM, "finetune-operator-leader"): ON_LEASES}


def test_for_named_namespaces_a_role_in_each_and_nothing_cluster_wide() -> None:
    rendered = render({**OWN, "namespaces": ["team-a", "team-b"]})
    assert granted(rendered.of("Role")) == {
        ("team-a", "finetune-operator"): ON_RUNS,
        ("team-b", "finetune-operator"): ON_RUNS,
        (SYSTEM, "finetune-operator-leader"): ON_LEASES,
    }
    assert not rendered.of("ClusterRole") + rendered.of("ClusterRoleBinding")


@pytest.mark.parametrize("values", [{}, {"namespaces": ["team-a", SYSTEM]}], ids=["all", "named"])
def test_each_of_its_roles_is_bound_to_the_operator_and_to_nobody_else(values: Json) -> None:
    rendered = render({**OWN, **values})
    roles = rendered.of("Role") + rendered.of("ClusterRole")
    bindings = rendered.of("RoleBinding") + rendered.of("ClusterRoleBinding")
    account = {"kind": "ServiceAccount", "name": "finetune-operator", "namespace": SYSTEM}
    assert all(one["subjects"] == [account] for one in bindings)
    bound = {(one["metadata"].get("namespace"), one["roleRef"]["kind"], one["roleRef"]["name"]) for one in bindings}
    assert bound == {(one["metadata"].get("namespace"), one["kind"], one["metadata"]["name"]) for one in roles}


def test_people_may_view_or_edit_runs_by_kubernetes_own_roles() -> None:
    roles = {one["metadata"]["name"].rpartition(":")[2]: one for one in render({"namespaces": ["a"]}).of("ClusterRole")}
    aggregated = {
        name: {label for label in one["metadata"]["labels"] if label.startswith("rbac.")} for name, one in roles.items()
    }
    to = "rbac.authorization.k8s.io/aggregate-to-"
    assert aggregated == {"view": {f"{to}view"}, "edit": {f"{to}edit", f"{to}admin"}}
    assert rights_of(roles["view"]["rules"]) == VIEW
    assert rights_of(roles["edit"]["rules"]) == EDIT


def test_no_role_at_all_when_switched_off() -> None:
    rendered = render({"rbac": {"create": False}})
    assert not {kind for kind, _, _ in rendered.names() if "Role" in kind}


def test_the_page_lists_the_rights_and_no_others() -> None:
    assert rights_of_page() == {
        "The operator, where runs are": ON_RUNS,
        "The operator, in its own namespace": ON_LEASES,
    }
