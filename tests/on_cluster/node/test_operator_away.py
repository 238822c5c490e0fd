"""The operator is away, killed, stopped, upgraded, uninstalled: runs neither notice nor are lost."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

import pytest

from tests.cluster.binaries import helm
from tests.cluster.lab import SYSTEM, Lab, install
from tests.on_cluster.conftest import Json, Kube, Place
from tests.on_cluster.node import host
from tests.on_cluster.node.records import PodRecord
from tests.on_cluster.node.scenario import (
    conditions,
    finished,
    living_pods,
    running,
    start,
    start_stand_in,
    tell,
    told,
)
from tests.support.processes import wait_until

RELEASE = "finetune-operator"
TAKEOVER_S = 15.0
PROGRAM = "finetune_operator"


@pytest.fixture
def release(alone: None, lab: Lab) -> Iterator[Lab]:
    """The shared release, for this scenario alone; as it was again afterwards."""
    yield lab
    install(lab, RELEASE, SYSTEM)


def operators(kube: Kube) -> list[Json]:
    """The operator's pods."""
    found = json.loads(kube("get", "pods", "-n", SYSTEM, "-l", f"app.kubernetes.io/name={RELEASE}", "-o", "json"))
    items: list[Json] = found["items"]
    return items


def send_away(kube: Kube, number: signal.Signals) -> None:
    """End the operator by a signal, and let none come in its place."""
    found = [pid for pod in operators(kube) for pid in host.processes(pod, PROGRAM)]
    assert found, "no operator runs"
    kube("scale", "deployment", RELEASE, "-n", SYSTEM, "--replicas=0")
    for pid in found:
        with suppress(ProcessLookupError):  # on a busy machine it has ended on the way here, as it was asked to
            os.kill(pid, number)
    wait_until(lambda: operators(kube) == [], "the operator is away")


def call_back(kube: Kube) -> None:
    kube("scale", "deployment", RELEASE, "-n", SYSTEM, "--replicas=1")


def test_a_run_says_that_no_operator_has_seen_it(place: Place, release: Lab) -> None:
    send_away(place.kube, signal.SIGTERM)
    start_stand_in(place, "unseen", run_s=1)
    status = place.status("unseen")
    assert (status["state"], status["reason"]) == ("Pending", "WaitingForOperator")
    assert status["observedGeneration"] == 0
    assert conditions(status) == {"Accepted": "Unknown", "Reconciling": "True"}  # kstatus: InProgress
    call_back(place.kube)
    assert place.until("unseen", finished)["state"] == "Succeeded", place.story()


def test_a_job_that_ends_while_the_operator_is_away_is_told_once(place: Place, release: Lab) -> None:
    start(place, "meanwhile")
    place.until("meanwhile", running)
    send_away(place.kube, signal.SIGKILL)
    job = "job/meanwhile-trainer"
    place.kube("wait", "--for=condition=complete", job, "-n", place.namespace, "--timeout=180s")
    assert place.status("meanwhile")["state"] == "Running"
    call_back(place.kube)
    status = place.until("meanwhile", finished)
    assert (status["state"], status["attempts"]) == ("Succeeded", 1), place.story()
    assert len(told(place, "Succeeded")) == 1
    stored = json.loads(place.bucket.read(f"{place.namespace}/meanwhile/result.json"))
    figures = status["evaluation"]
    assert figures["after"] == round(stored["changes"][figures["metric"]]["after"], 4)


def lease(kube: Kube) -> Json:
    spec: Json = kube.get("lease", RELEASE, SYSTEM)["spec"]
    return spec


def next_leader(kube: Kube, before: Json) -> None:
    """Wait for another holder than `before`'s; it comes in time by the Lease's own clock."""
    wait_until(lambda: lease(kube)["holderIdentity"] not in ("", before["holderIdentity"]), "another leads")
    acquired, last = (datetime.fromisoformat(when) for when in (lease(kube)["acquireTime"], before["renewTime"]))
    assert (acquired - last).total_seconds() <= TAKEOVER_S


def leading(kube: Kube) -> list[Json]:
    """The leading pod; none while the one that led is gone and no other has taken over."""
    holder = lease(kube)["holderIdentity"]
    return [pod for pod in operators(kube) if holder.startswith(pod["metadata"]["name"])]


def leader(kube: Kube) -> Json:
    """The leading pod, once there is one."""
    wait_until(lambda: leading(kube) != [], "an operator that is there leads")
    (pod,) = leading(kube)
    return pod


def restarts(kube: Kube, pod: Json) -> int:
    count: int = kube.get("pod", pod["metadata"]["name"], SYSTEM)["status"]["containerStatuses"][0]["restartCount"]
    return count


def test_replicas_take_over_and_an_upgrade_leaves_a_training_run_alone(
    place: Place, pods: PodRecord, release: Lab
) -> None:
    kube = place.kube
    start_stand_in(place, "first")
    place.until("first", running)
    (pod,) = living_pods(place, "first")
    install(release, RELEASE, SYSTEM, "replicas=2")
    wait_until(lambda: len(operators(kube)) == 2, "only the new operators are left")

    host.send(leader(kube), signal.SIGKILL, PROGRAM)  # its container starts again, and may lead again
    start_stand_in(place, "second")
    place.until("second", running)

    gone, before = leader(kube), lease(kube)
    host.send(gone, signal.SIGSTOP, PROGRAM)  # so that it cannot release its lease
    kube("delete", "pod", gone["metadata"]["name"], "-n", SYSTEM, "--grace-period=0", "--force", "--wait=false")
    start_stand_in(place, "third")
    next_leader(kube, before)
    place.until("third", running)
    kube("rollout", "status", f"deployment/{RELEASE}", "-n", SYSTEM, "--timeout=120s")

    stopped, before = leader(kube), lease(kube)
    host.send(stopped, signal.SIGSTOP, PROGRAM)
    start_stand_in(place, "fourth")
    next_leader(kube, before)
    place.until("fourth", running)
    count = restarts(kube, stopped)
    host.send(stopped, signal.SIGCONT, PROGRAM)
    wait_until(lambda: restarts(kube, stopped) > count, "who led before ends")
    name = stopped["metadata"]["name"]
    assert "lease-lost" in kube("logs", name, "-n", SYSTEM, "--previous", "--tail=20")

    assert [one["metadata"]["uid"] for one in living_pods(place, "first")] == [pod["metadata"]["uid"]]
    for run in ("first", "second", "third", "fourth"):
        tell(place, run)
        status = place.until(run, finished)
        assert (status["state"], status["attempts"], status["jobs"]) == ("Succeeded", 1, 1), place.story()
    assert pods.count() == 4
    assert len(place.kube.items("jobs", place.namespace)) == 4


def test_uninstalling_leaves_definition_runs_and_results_and_a_new_install_goes_on(
    place: Place, pods: PodRecord, release: Lab
) -> None:
    start_stand_in(place, "done", run_s=1)
    before = place.until("done", finished)
    start_stand_in(place, "under-way")
    place.until("under-way", running)
    command = [str(helm()), "uninstall", RELEASE, "-n", SYSTEM, "--wait"]
    subprocess.run(command, env=place.kube.env, check=True, capture_output=True)
    place.kube("get", "crd", "finetuneruns.finetune.dev")
    assert place.status("done") == before
    tell(place, "under-way")
    place.kube("wait", "--for=condition=complete", "job/under-way-trainer", "-n", place.namespace, "--timeout=60s")
    assert place.status("under-way")["state"] == "Running"
    install(release, RELEASE, SYSTEM)
    status = place.until("under-way", finished)
    assert (status["state"], status["attempts"]) == ("Succeeded", 1), place.story()
    assert place.status("done") == before
    assert pods.count() == 2
