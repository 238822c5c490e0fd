"""The Jobs of examples/ are what a real API server takes, in a namespace that enforces the restricted standard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.on_cluster.faults.api import ControlPlane, Json, until
from tests.on_cluster.faults.world import a_namespace
from tests.support.job_yaml import EXAMPLES, job_of

DRY = "?dryRun=All&fieldValidation=Strict"
ENFORCED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}


@pytest.fixture(scope="module")
def restricted(plane: ControlPlane) -> Iterator[str]:
    """A namespace that enforces it, with its service account."""
    with a_namespace(plane) as name:
        plane.call("PATCH", f"/api/v1/namespaces/{name}", {"metadata": {"labels": ENFORCED}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        until(lambda: not plane.gone(account), 60, lambda: f"no {account}")
        yield name


def in_namespace(document: Json, name: str) -> Json:
    """The same object there."""
    return {**document, "metadata": {**document["metadata"], "namespace": name}}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_examples_job_and_pod_are_accepted(plane: ControlPlane, restricted: str, example: Path) -> None:
    job = in_namespace(job_of(example), restricted)
    taken = plane.call("POST", f"/apis/batch/v1/namespaces/{restricted}/jobs{DRY}", job)
    assert taken["spec"]["podFailurePolicy"]["rules"][0]["action"] == "FailJob"
    pod = pod_of(job)
    taken = plane.call("POST", f"/api/v1/namespaces/{restricted}/pods{DRY}", pod)
    assert [volume["name"] for volume in taken["spec"]["volumes"] if "projected" in volume] == [], "no API token"


def test_the_namespace_does_refuse(plane: ControlPlane, restricted: str) -> None:
    pod = pod_of(job_of(EXAMPLES[0]))
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(requests.HTTPError) as refused:
        plane.call("POST", f"/api/v1/namespaces/{restricted}/pods{DRY}", in_namespace(pod, restricted))
    assert refused.value.response is not None
    assert "violates PodSecurity" in refused.value.response.text


def pod_of(job: Json) -> Json:
    """The pod of its template, as the Job controller makes it."""
    template = job["spec"]["template"]
    metadata = {**template["metadata"], "name": job["metadata"]["name"], "namespace": job["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
