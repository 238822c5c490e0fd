"""The same name and the same output, used again."""

from tests.on_cluster.conftest import Place
from tests.on_cluster.node.records import PodRecord, TurnRecord
from tests.on_cluster.node.scenario import SLOW, finished, model_digest, start, until_checkpoint


def test_a_run_applied_again_waits_for_the_pods_of_its_name_and_goes_on(
    place: Place, pods: PodRecord, turns: TurnRecord
) -> None:
    start(place, "again", **SLOW)
    until_checkpoint(place, "again")
    place.kube("delete", "ftr", "again", "-n", place.namespace)
    start(place, "again", **SLOW)
    status = place.until("again", finished, 300)
    assert status["state"] == "Succeeded", place.story()
    assert ("Pending", "WaitingForPreviousPods") in turns.of_run("again")
    assert (pods.count(), pods.at_once()) == (2, 1)
    before = model_digest(place, "again")

    training = {**SLOW["training"], "optimizer": {"learningRate": 5.0e-4}}
    start(place, "other", output=f"{place.namespace}/again", training=training)
    status = place.until("other", finished)
    assert (status["state"], status["reason"]) == ("Failed", "OutputInUse"), place.story()
    assert "spec.training.optimizer.learningRate: 0.001 there, 0.0005 here" in status["message"]
    assert f"s3://{place.bucket.name}/{place.namespace}/again" in status["message"]
    assert model_digest(place, "again") == before
