"""What holds a run up before its trainer runs: said in the words of who holds it, and over once it is mended."""

import json

import pytest

from tests.on_cluster.conftest import Json, Place
from tests.on_cluster.node.scenario import finished, is_in, running, start_stand_in, tell
from tests.support.cluster_runs import STAND_IN_REQUESTS


def goes_on(place: Place, name: str) -> None:
    """The cause is mended: the run runs, and ends."""
    place.until(name, running)
    tell(place, name)
    assert place.until(name, finished)["state"] == "Succeeded", place.story()


def test_a_missing_secret_is_named_with_the_command_that_makes_it(place: Place) -> None:
    start_stand_in(place, "keys", spec={"storage": {"secretRef": {"name": "later"}}})
    status = place.until("keys", is_in("Starting", "VolumeMountFailed"))
    assert "kubectl create secret generic later" in status["message"]
    place.kube.apply(place.bucket.secret("later"), place.namespace)
    place.until("keys", running, 240)  # the kubelet looks again after up to two minutes
    tell(place, "keys")
    assert place.until("keys", finished)["state"] == "Succeeded", place.story()


def test_a_missing_image_is_told_and_ends_with_the_start_deadline(place: Place) -> None:
    image = "localhost/no-such-image:1"
    start_stand_in(place, "image", compute={"image": image}, spec={"lifecycle": {"startDeadlineSeconds": 12}})
    status = place.until("image", is_in("Starting", "ImagePullFailed"))
    assert image in status["message"]
    assert "spec.compute.image" in status["message"]
    status = place.until("image", finished)
    assert (status["state"], status["reason"]) == ("Failed", "ImagePullFailed"), place.story()
    assert "spec.lifecycle.startDeadlineSeconds" in status["message"]
    assert image in status["message"]
    assert place.kube("get", "jobs", "-n", place.namespace, "-o", "name") == ""


def test_without_a_gpu_the_run_waits_in_the_schedulers_words(place: Place) -> None:
    gpu = f"example.com/{place.namespace}"
    start_stand_in(place, "gpu", compute={"gpusPerNode": 1, "gpuResourceName": gpu})
    status = place.until("gpu", is_in("Starting", "Unschedulable"))
    assert f"Insufficient {gpu}" in status["message"]
    (node,) = place.kube("get", "nodes", "-o", "name").split()[:1]
    path = f"/status/capacity/{gpu.replace('/', '~1')}"

    def patch(**operation: str) -> None:
        body = json.dumps([{"path": path, **operation}])
        place.kube("patch", node, "--subresource=status", "--type=json", "-p", body)

    patch(op="add", value="1")
    try:
        goes_on(place, "gpu")
    finally:
        patch(op="remove")
    assert place.status("gpu")["gpuSeconds"] > 0


def quota(memory: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"requests.memory": memory}},
    }


def test_a_quota_refuses_the_pod_until_it_is_raised(place: Place) -> None:
    place.kube.apply(quota("1Mi"), place.namespace)
    start_stand_in(place, "quota")
    status = place.until("quota", is_in("Starting", "PodRejected"))
    for words in ("exceeded quota: small", STAND_IN_REQUESTS["memory"], "Raise the quota"):
        assert words in status["message"]
    place.kube.apply(quota("1Gi"), place.namespace)
    goes_on(place, "quota")


def test_pod_security_refuses_the_pod_until_it_is_relaxed(place: Place) -> None:
    start_stand_in(place, "loose", compute={"securityContext": {"allowPrivilegeEscalation": True}})
    status = place.until("loose", is_in("Starting", "PodRejected"))
    for words in ('violates PodSecurity "restricted', "allowPrivilegeEscalation", "spec.compute"):
        assert words in status["message"]
    level = "pod-security.kubernetes.io/enforce=baseline"
    place.kube("label", "namespace", place.namespace, level, "--overwrite")
    goes_on(place, "loose")


@pytest.fixture
def priority(place: Place) -> Json:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": f"later-{place.namespace}"},
        "value": 1000,
    }


def test_a_priority_class_that_does_not_exist_is_named(place: Place, priority: Json) -> None:
    name = priority["metadata"]["name"]
    start_stand_in(place, "urgent", compute={"priorityClassName": name})
    status = place.until("urgent", is_in("Starting", "PodRejected"))
    assert f"no PriorityClass with name {name} was found" in status["message"]
    place.kube.apply(priority)
    try:
        goes_on(place, "urgent")
    finally:
        place.kube("delete", "priorityclass", name)
