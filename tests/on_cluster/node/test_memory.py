"""A node's memory runs out, in PID 1 and in the worker."""

from typing import Any

import pytest

from tests.on_cluster.conftest import Json, Place
from tests.on_cluster.node.scenario import SLOW, execute, finished, report, start, told, until_checkpoint
from tests.support.cluster_runs import TRAINER_REQUESTS

HOG = """
import os, sys, threading, time

def eat(mark):
    while not os.path.exists(mark):
        time.sleep(0.1)
    eaten = []
    while True:
        eaten.append(bytearray(b"x" * (16 << 20)))

who = [name for name in ("main", "worker") if f"finetune_trainer.supervisor.{name}" in sys.orig_argv]
if who:
    threading.Thread(target=eat, args=(f"/scratch/eat-{who[0]}",), daemon=True).start()
"""
"""Python imports sitecustomize at its start: a thread that takes all memory once a file is there."""


def hungry(memory: str) -> Json:
    """spec.compute of a pod with the hog in it."""
    return {
        "env": [{"name": "OMP_NUM_THREADS", "value": "1"}, {"name": "PYTHONPATH", "value": "/hog:/app"}],
        "volumes": [{"name": "hog", "configMap": {"name": "hog"}}],
        "volumeMounts": [{"name": "hog", "mountPath": "/hog"}],
        "resources": {"requests": {**TRAINER_REQUESTS, "memory": memory}},
    }


@pytest.mark.parametrize("who", ["main", "worker"])
def test_out_of_memory_is_named_and_the_same_output_goes_on_with_more(place: Place, who: str) -> None:
    data = {"sitecustomize.py": HOG}
    place.kube.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hog"}, "data": data}, place.namespace
    )
    start(place, "hungry", compute=hungry("1200Mi"), lifecycle={"maxRetries": 0}, **SLOW)
    saved = until_checkpoint(place, "hungry")
    execute(place, "hungry", "touch", f"/scratch/eat-{who}")
    status = place.until("hungry", finished, 300)
    assert (status["state"], status["reason"]) == ("Failed", "OutOfMemory"), place.story()
    assert "1200Mi" in status["message"]
    assert "spec.compute.resources.requests.memory" in status["message"]
    assert told(place, "OutOfMemory")

    place.kube("delete", "ftr", "hungry", "-n", place.namespace)
    start(place, "hungry", compute=hungry("1500Mi"), **SLOW)
    steps: list[int] = []

    def trains(_: Any) -> bool:
        steps.extend([found["step"]] if "step" in (found := report(place, "hungry").get("progress", {})) else [])
        return bool(steps)

    place.until("hungry", trains)
    assert steps[0] >= saved
    assert place.until("hungry", finished, 300)["state"] == "Succeeded", place.story()
