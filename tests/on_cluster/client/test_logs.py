"""Logs through a real API server: of one pod, over a broken connection, and on to the next pod."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_sdk.client import NoLogs, RunClient
from tests.on_cluster.client.conftest import StandIn
from tests.on_cluster.client.kubelet import Kubelet, a_kubelet
from tests.on_cluster.conftest import Kube
from tests.support.client_contract import a_run, later
from tests.support.processes import wait_until

SOON = 60.0


@pytest.fixture
def kubelet(kube: Kube, tmp_path: Path) -> Iterator[Kubelet]:
    with a_kubelet(kube, tmp_path / "kubelet") as made:
        yield made


def test_the_newest_pods_log_is_read(runs: RunClient, kubelet: Kubelet) -> None:
    run = runs.create(a_run("one"))
    with pytest.raises(NoLogs, match="has no pod yet"):
        list(runs.logs("one"))
    pod = kubelet.pod(run, 1)
    kubelet.write(pod, "step 1", "", "step 3 \u2713")
    assert [(line.pod, line.text) for line in runs.logs("one")] == [(pod, "step 1"), (pod, ""), (pod, "step 3 \u2713")]
    assert [line.text for line in runs.logs("one", tail=1)] == ["step 3 \u2713"]


def test_following_goes_on_over_a_broken_connection_and_to_the_next_pod(
    runs: RunClient, operator: StandIn, kubelet: Kubelet, namespace: str
) -> None:
    run = runs.create(a_run("two"))
    first = kubelet.pod(run, 1)
    kubelet.cuts = 1
    kubelet.write(first, "a", "b")
    told: list[tuple[str, str]] = []

    def read() -> None:
        told.extend((line.pod, line.text) for line in runs.logs("two", follow=True))

    reading = later(read)
    wait_until(lambda: len(kubelet.asked) > 1, "asked again", SOON)
    kubelet.write(first, "c")
    wait_until(lambda: len(told) == 3, "the third line", SOON)
    kubelet.end(first, namespace)
    second = kubelet.pod(run, 2)
    kubelet.write(second, "d")
    wait_until(lambda: len(told) == 4, "the next pod's line", SOON)
    kubelet.end(second, namespace, "Succeeded")
    operator.succeed("two", before=0.1, after=0.2)
    reading.result(SOON)
    assert told == [(first, "a"), (first, "b"), (first, "c"), (second, "d")], "no line twice, none left out"
    assert "sinceTime" in kubelet.asked[1]
