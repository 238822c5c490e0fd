"""A node that is switched off under a run (K21): named, and once its end is confirmed the run goes on elsewhere."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.cluster import images
from tests.cluster.lab import Lab
from tests.cluster.node import BRIDGE, Node
from tests.on_cluster.conftest import Kube, Place
from tests.on_cluster.node.records import PodRecord
from tests.on_cluster.node.scenario import is_in, living_pods, pods_of, running, start_stand_in, tell

ONLY = {"key": "finetune.dev/test", "operator": "Exists"}
"""A taint that keeps all other pods away."""
LOST = {
    "key": "node.kubernetes.io/unreachable",
    "operator": "Exists",
    "effect": "NoExecute",
    "tolerationSeconds": 5,
}
"""In place of Kubernetes' five minutes."""


@pytest.fixture
def second(lab: Lab, kube: Kube) -> Iterator[Node]:
    """Another node, for one run alone."""
    node = Node(lab.plane, 2)
    try:
        node.start(taints=[{"key": ONLY["key"], "effect": "NoSchedule"}])
        node.load_image(images.STAND_IN)
        yield node
    finally:
        node.stop()
        shutil.rmtree(node.home, ignore_errors=True)
        kube("delete", "node", node.name, "--ignore-not-found")
        subprocess.run(["ip", "addr", "del", f"{node.address}/16", "dev", BRIDGE], check=False, capture_output=True)


def preferring(node: Node) -> dict[str, object]:
    """A spec.compute that goes to `node` while it is there."""
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
    wish = {"weight": 100, "preference": {"matchExpressions": [term]}}
    return {
        "tolerations": [ONLY, LOST],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}},
        "terminationGracePeriodSeconds": 5,
    }


def test_a_lost_node_is_named_and_once_it_is_out_of_service_the_run_goes_on(
    place: Place, second: Node, pods: PodRecord
) -> None:
    start_stand_in(place, "lost", compute=preferring(second))
    place.until("lost", running)
    (pod,) = pods_of(place, "lost")
    assert pod["spec"]["nodeName"] == second.name
    second.stop()
    lost = place.until("lost", is_in("Retrying", "NodeLost"))
    assert second.name in lost["message"]
    taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
    place.until("lost", lambda status: f"kubectl taint node {second.name} {taint}" in status["message"])
    assert len(pods_of(place, "lost")) == 1, "a second writer while the first may still write"
    place.kube("taint", "node", second.name, taint)
    place.until("lost", running)
    (pod,) = living_pods(place, "lost")
    assert pod["spec"]["nodeName"] == "node1"
    tell(place, "lost", exit=0)
    assert place.until("lost", lambda status: status["state"] == "Succeeded")["attempts"] == 2
    assert pods.at_once() == 1
