"""Runs on a real node, by the real trainer image and the operator as its chart installs it."""

import hashlib
import json
from typing import Any

from tests.on_cluster.conftest import Json, Place
from tests.support.cluster_runs import tiny_run

FINISHED = ("Succeeded", "Failed")


def finished(status: Json) -> bool:
    return status["state"] in FINISHED


def start(place: Place, name: str, **spec: Any) -> None:
    run = tiny_run(place.bucket.name, name, output=f"{place.namespace}/{name}", **spec)
    place.kube.apply(run, place.namespace)


def model_digest(place: Place, name: str) -> str:
    keys = [key for key in place.bucket.keys(f"{place.namespace}/{name}/model/") if key.endswith(".safetensors")]
    assert keys, place.bucket.keys(f"{place.namespace}/{name}/")
    return hashlib.sha256(b"".join(place.bucket.read(key) for key in sorted(keys))).hexdigest()


def conditions(status: Json) -> dict[str, str]:
    return {one["type"]: one["status"] for one in status["conditions"]}


def kill_while_training(place: Place, name: str) -> None:
    place.until(name, lambda status: status["state"] == "Running" and "checkpoint" in status)
    pod = place.status(name)["pod"]["name"]
    place.kube("delete", "pod", pod, "-n", place.namespace, "--wait=false")


def test_a_run_succeeds_and_says_what_it_changed(place: Place) -> None:
    start(place, "happy")
    status = place.until("happy", finished)
    assert (status["state"], status["attempts"]) == ("Succeeded", 1), place.story()
    figures = status["evaluation"]
    assert round(figures["after"] - figures["before"], 4) == figures["gain"]
    assert conditions(status)["Succeeded"] == "True"
    assert "completionTime" in status
    assert place.bucket.read(f"{place.namespace}/happy/report.html").startswith(b"<!doctype html>")
    told = [one for one in place.kube.items("events", place.namespace) if one["reason"] == "Succeeded"]
    assert len(told) == 1
    line = place.kube("get", "ftr", "happy", "-n", place.namespace, "--no-headers").split()
    assert line[:2] == ["happy", "Succeeded"]


def test_a_deleted_pod_is_no_failure_and_ends_with_the_same_weights(place: Place) -> None:
    slow = {"training": {"steps": 300, "batchSize": 16, "optimizer": {"learningRate": 1.0e-3}}}
    start(place, "undisturbed", **slow)
    start(place, "disturbed", **slow)
    kill_while_training(place, "disturbed")
    status = place.until("disturbed", finished, 300)
    assert (status["state"], status["attempts"]) == ("Succeeded", 2), place.story()
    assert place.kube.get("job", "disturbed-trainer", place.namespace)["status"].get("failed", 0) == 0
    place.until("undisturbed", finished, 300)
    assert model_digest(place, "disturbed") == model_digest(place, "undisturbed")


def test_a_suspended_run_leaves_no_pod_and_goes_on(place: Place) -> None:
    start(place, "pause", training={"steps": 300, "batchSize": 16})
    place.until("pause", lambda status: status["state"] == "Running" and "checkpoint" in status)
    suspend = json.dumps({"spec": {"suspend": True}})
    place.kube("patch", "ftr", "pause", "-n", place.namespace, "--type=merge", "-p", suspend)
    place.until("pause", lambda status: status["state"] == "Suspended")
    assert [pod for pod in place.kube.items("pods", place.namespace) if pod["status"]["phase"] == "Running"] == []
    resume = json.dumps({"spec": {"suspend": False}})
    place.kube("patch", "ftr", "pause", "-n", place.namespace, "--type=merge", "-p", resume)
    assert place.until("pause", finished, 300)["state"] == "Succeeded", place.story()


def test_bad_data_fails_at_once_and_names_the_row(place: Place) -> None:
    place.bucket.put("bad.csv", b"image,caption,split\nnowhere.png,a cat,train\nnowhere2.png,a dog,test\n")
    split = {"uri": f"s3://{place.bucket.name}/bad.csv", "images": f"s3://{place.bucket.name}/"}
    start(place, "bad", data={name: {**split, "where": {"split": name}} for name in ("train", "test")})
    status = place.until("bad", finished)
    assert (status["state"], status["reason"], status["attempts"]) == ("Failed", "DataInvalid", 1), place.story()
    assert "bad.csv:2" in status["message"]
    assert conditions(status)["Stalled"] == "True"


def test_a_wrong_key_is_told_and_in_no_message(place: Place) -> None:
    secret = place.bucket.secret("wrong")
    secret["stringData"]["secretKey"] = "canary-of-the-test"
    place.kube.apply(secret, place.namespace)
    start(place, "denied", storage={"secretRef": {"name": "wrong"}})
    status = place.until("denied", finished)
    assert (status["state"], status["reason"]) == ("Failed", "StorageDenied"), place.story()
    everything = place.kube("get", "ftr,jobs,pods,events", "-n", place.namespace, "-o", "json")
    logs = place.kube("logs", "-n", place.namespace, "-l", "finetune.dev/run=denied", "--tail=-1")
    assert "canary-of-the-test" not in everything + logs


def test_a_missing_secret_is_named_with_the_command_that_makes_it(place: Place) -> None:
    start(place, "keys", storage={"secretRef": {"name": "later"}})
    status = place.until("keys", lambda status: status["reason"] == "VolumeMountFailed")
    assert "kubectl create secret generic later" in status["message"]
    place.kube.apply(place.bucket.secret("later"), place.namespace)
    assert place.until("keys", finished, 240)["state"] == "Succeeded", place.story()


def test_a_missing_image_is_told_and_ends_with_the_start_deadline(place: Place) -> None:
    image = {"image": "localhost/no-such-image:1"}
    start(place, "image", compute=image, lifecycle={"startDeadlineSeconds": 15})
    place.until("image", lambda status: status["reason"] == "ImagePullFailed")
    status = place.until("image", finished)
    assert (status["state"], status["reason"]) == ("Failed", "ImagePullFailed"), place.story()
    assert "startDeadlineSeconds" in status["message"]
    assert place.kube("get", "jobs", "-n", place.namespace, "-o", "name") == ""


def test_without_a_gpu_the_run_waits_in_the_schedulers_words(place: Place) -> None:
    start(place, "gpu", compute={"gpusPerNode": 1, "gpuResourceName": "example.com/gpu"})
    status = place.until("gpu", lambda status: status["reason"] == "Unschedulable")
    assert status["state"] == "Starting"
    assert "example.com/gpu" in status["message"]


def test_a_gate_that_is_missed_fails_the_run_with_its_figures(place: Place) -> None:
    start(place, "gate", evaluation={"gate": {"minGain": 1.0}})
    status = place.until("gate", finished)
    assert (status["state"], status["reason"]) == ("Failed", "GateNotMet"), place.story()
    assert conditions(status)["GatePassed"] == "False"
    assert "gain" in status["evaluation"]


def test_a_finished_jobs_deletion_changes_nothing(place: Place) -> None:
    start(place, "short", training={"steps": 1, "batchSize": 8}, lifecycle={"ttlSecondsAfterFinished": 0})
    before = place.until("short", finished)
    place.kube("wait", "--for=delete", "job/short-trainer", "-n", place.namespace, "--timeout=60s")
    suspend = json.dumps({"spec": {"suspend": True}})
    place.kube("patch", "ftr", "short", "-n", place.namespace, "--type=merge", "-p", suspend)
    after = place.until("short", lambda status: status["observedGeneration"] == 2)
    assert after == {**before, "observedGeneration": 2}
    assert place.kube("get", "jobs", "-n", place.namespace, "-o", "name") == ""
