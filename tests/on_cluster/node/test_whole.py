"""Runs from apply to their end, by the real trainer."""

import json

from tests.cluster.lab import SYSTEM
from tests.on_cluster.conftest import Place
from tests.on_cluster.node.scenario import conditions, finished, pods_of, start, told


def test_a_run_succeeds_and_says_what_it_changed(place: Place) -> None:
    start(place, "happy")
    status = place.until("happy", finished, 300)
    assert (status["state"], status["attempts"]) == ("Succeeded", 1), place.story()
    figures = status["evaluation"]
    assert conditions(status)["Succeeded"] == "True"
    assert status["startTime"] <= status["completionTime"]
    assert len(told(place, "Succeeded")) == 1
    assert place.bucket.read(f"{place.namespace}/happy/report.html").startswith(b"<!DOCTYPE html>")
    result = json.loads(place.bucket.read(f"{place.namespace}/happy/result.json"))
    change = result["changes"][figures["metric"]]
    assert round(change["after"], 4) == figures["after"]
    assert round(change["after"] - change["before"], 4) == figures["gain"]
    head, row = place.kube("get", "ftr", "happy", "-n", place.namespace).splitlines()
    assert head.split() == ["NAME", "STATE", "REASON", "PROGRESS", "BEFORE", "AFTER", "GAIN", "QUEUE", "AGE"]
    assert row.split()[:2] == ["happy", "Succeeded"]
    shown = [float(row[head.index(name) :].split()[0]) for name in ("BEFORE", "AFTER", "GAIN")]
    assert shown == [figures["before"], figures["after"], figures["gain"]]


def test_bad_data_fails_at_once_and_names_file_and_row(place: Place) -> None:
    key = f"{place.namespace}/bad.csv"
    place.bucket.put(key, b"image,caption,split\nnowhere.png,a cat,train\nnowhere2.png,a dog,test\n")
    split = {"uri": f"s3://{place.bucket.name}/{key}", "images": f"s3://{place.bucket.name}/"}
    start(place, "bad", data={name: {**split, "where": {"split": name}} for name in ("train", "test")})
    status = place.until("bad", finished, 300)
    assert (status["state"], status["reason"], status["attempts"]) == ("Failed", "DataInvalid", 1), place.story()
    assert "bad.csv:2" in status["message"]
    assert conditions(status)["Stalled"] == "True"
    assert len(pods_of(place, "bad")) == 1


def test_a_gate_that_is_missed_fails_the_run_with_its_figures(place: Place) -> None:
    start(place, "gate", evaluation={"gate": {"minGain": 1.0}})
    status = place.until("gate", finished, 300)
    assert (status["state"], status["reason"]) == ("Failed", "GateNotMet"), place.story()
    assert conditions(status)["GatePassed"] == "False"
    assert "minGain" in status["message"]
    stored = json.loads(place.bucket.read(f"{place.namespace}/gate/result.json"))
    assert status["evaluation"]["gain"] == round(stored["changes"][status["evaluation"]["metric"]]["gain"], 4)


def test_secrets_are_nowhere_but_where_they_were_put(place: Place) -> None:
    canaries = [place.bucket.secret_key, "canary-of-the-environment", "canary-of-another-secret"]
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"}, "stringData": {"key": canaries[2]}}
    place.kube.apply(other, place.namespace)
    reference = {"secretKeyRef": {"name": "other", "key": "key"}}
    variables = [{"name": "OPEN", "value": canaries[1]}, {"name": "PRIVATE", "valueFrom": reference}]
    start(place, "quiet", compute={"env": [{"name": "OMP_NUM_THREADS", "value": "1"}, *variables]})
    wrong = place.bucket.secret("wrong")
    wrong["stringData"]["secretKey"] = "canary-of-a-wrong-key"
    place.kube.apply(wrong, place.namespace)
    start(place, "denied", storage={"secretRef": {"name": "wrong"}})
    status = place.until("denied", finished, 300)
    assert (status["state"], status["reason"]) == ("Failed", "StorageDenied"), place.story()
    assert place.bucket.name in status["message"]
    assert place.until("quiet", finished, 300)["state"] == "Succeeded", place.story()

    heard = {
        "the operator's log": place.kube("logs", "-n", SYSTEM, "deploy/finetune-operator", "--tail=-1"),
        "a trainer's log": place.kube("logs", "-n", place.namespace, "-l", "finetune.dev/run", "--tail=-1"),
        "an event": place.kube("get", "events", "-n", place.namespace, "-o", "json"),
        "a status": json.dumps([run["status"] for run in place.kube.items("ftr", place.namespace)]),
        "a pod's status": json.dumps([pod["status"] for pod in place.kube.items("pods", place.namespace)]),
    }
    for key in place.bucket.keys(f"{place.namespace}/"):
        heard[key] = place.bucket.read(key).decode("latin-1")
    assert f"{place.namespace}/quiet/report.html" in heard
    assert "stage" in heard["a trainer's log"]
    leaks = [
        (name, where) for name in [*canaries, "canary-of-a-wrong-key"] for where, text in heard.items() if name in text
    ]
    assert leaks == []
