"""Storage that goes away, and storage that says no."""

import time
from pathlib import Path

from tests.cluster.plane import NODE_IP
from tests.on_cluster.conftest import Place
from tests.on_cluster.node.scenario import (
    SLOW,
    change,
    checkpoints,
    finished,
    report,
    start,
    until_checkpoint,
)
from tests.support.faults import run_proxy
from tests.support.minio import S3Server

DOWN_S = 60.0


def test_storage_that_is_away_for_a_minute_ends_no_run(place: Place) -> None:
    bucket = place.bucket
    server = S3Server(bucket.endpoint, bucket.access_key, bucket.secret_key, Path())
    with run_proxy(server, NODE_IP) as proxy:
        place.kube.apply(bucket.at(proxy.endpoint).secret("by-proxy"), place.namespace)
        start(place, "away", storage={"secretRef": {"name": "by-proxy"}}, **SLOW)
        until_checkpoint(place, "away")
        proxy.refuse()
        back = time.monotonic() + DOWN_S
        place.until("away", lambda status: finished(status) or time.monotonic() > back)
        asked = len(proxy.requests)
        proxy.heal()
        status = place.until("away", finished, 300)
    assert (status["state"], status["attempts"]) == ("Succeeded", 1), place.story()
    assert asked > 0


def test_a_run_that_storage_denied_goes_on_from_its_checkpoint_once_restarted(place: Place) -> None:
    user = f"u-{place.namespace}"
    place.kube.apply(place.bucket.as_user(user, "readwrite").secret("of-user"), place.namespace)
    start(place, "denied", storage={"secretRef": {"name": "of-user"}}, **SLOW)
    until_checkpoint(place, "denied")
    place.bucket.as_user(user, "readonly")
    status = place.until("denied", finished, 300)
    assert (status["state"], status["reason"]) == ("Failed", "StorageDenied"), place.story()
    assert place.bucket.name in status["message"]
    saved = checkpoints(place, f"{place.namespace}/denied")[-1]
    assert saved < SLOW["training"]["steps"]
    place.bucket.as_user(user, "readwrite")
    change(place, "denied", lifecycle={"restart": 1})
    steps: list[int] = []

    def trains(_: object) -> bool:
        steps.extend([found["step"]] if "step" in (found := report(place, "denied").get("progress", {})) else [])
        return bool(steps)

    place.until("denied", trains)
    assert steps[0] >= saved
    status = place.until("denied", finished, 300)
    assert (status["state"], status["jobs"], status["attempts"]) == ("Succeeded", 2, 2), place.story()
