"""NetworkPolicies as they are rendered."""

from typing import Any

from ruamel.yaml import YAML

from finetune_sdk.contract import MANAGED_BY, MANAGED_BY_LABEL, PORT
from tests.on_cluster.chart.helm import ROOT, SYSTEM, Json, Rendered, render

TRAINERS = {"matchLabels": {MANAGED_BY_LABEL: MANAGED_BY}}
ON: Json = {"networkPolicy": {"create": True}}
DNS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]


def policies(rendered: Rendered) -> dict[tuple[str, str], Any]:
    found = rendered.of("NetworkPolicy")
    return {(one["metadata"]["namespace"], one["metadata"]["name"]): one["spec"] for one in found}


def tcp(*ports: int) -> list[Json]:
    return [{"port": port, "protocol": "TCP"} for port in ports]


def test_none_by_default() -> None:
    assert not render().of("NetworkPolicy")


def test_the_operator_reaches_dns_api_server_and_trainers_only() -> None:
    rendered = render(ON)
    ((name, spec),) = policies(rendered).items()
    assert name == (SYSTEM, "finetune-operator")
    assert spec["podSelector"] == rendered.one("Deployment")["spec"]["selector"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": tcp(8080)}]
    trainers = {"namespaceSelector": {}, "podSelector": TRAINERS}
    assert spec["egress"] == [{"ports": DNS}, {"ports": tcp(443, 6443)}, {"to": [trainers], "ports": tcp(PORT)}]


def test_with_named_namespaces_it_reaches_trainers_of_these() -> None:
    spec = policies(render({**ON, "namespaces": ["team-a", "team-b"]}))[SYSTEM, "finetune-operator"]
    expression = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["team-a", "team-b"]}
    (reached,) = spec["egress"][2]["to"]
    assert reached == {"namespaceSelector": {"matchExpressions": [expression]}, "podSelector": TRAINERS}


def test_trainers_of_named_namespaces_are_asked_by_the_operator_only() -> None:
    rendered = render({**ON, "namespaces": ["team-a", "team-b"]})
    found = {name: spec for name, spec in policies(rendered).items() if name[0] != SYSTEM}
    assert found.keys() == {("team-a", "finetune-operator-progress"), ("team-b", "finetune-operator-progress")}
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SYSTEM}},
        "podSelector": rendered.one("Deployment")["spec"]["selector"],
    }
    for spec in found.values():
        assert (spec["podSelector"], spec["policyTypes"]) == (TRAINERS, ["Ingress"])
        assert spec["ingress"] == [{"from": [operator], "ports": tcp(PORT)}]


def test_the_api_servers_ports_can_be_said() -> None:
    spec = policies(render({"networkPolicy": {"create": True, "apiServerPorts": [8443]}}))[SYSTEM, "finetune-operator"]
    assert spec["egress"][1] == {"ports": tcp(8443)}


def test_the_sample_for_trainers_lets_this_operator_in() -> None:
    sample = YAML(typ="safe").load(ROOT / "examples/policies/trainer-network.yaml")["spec"]
    (ours,) = (spec for name, spec in policies(render({**ON, "namespaces": ["team-a"]})).items() if name[0] == "team-a")
    (ingress,) = sample["ingress"]
    (operator,) = ingress["from"]
    assert (sample["podSelector"], ingress["ports"]) == (TRAINERS, tcp(PORT))
    assert operator["namespaceSelector"] == ours["ingress"][0]["from"][0]["namespaceSelector"]
    labels = render().one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert operator["podSelector"]["matchLabels"].items() <= labels.items()
