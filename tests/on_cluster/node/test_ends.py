"""How runs end: retries, deadlines, and what comes after the end."""

import time

from tests.on_cluster.conftest import Json, Place
from tests.on_cluster.node import host
from tests.on_cluster.node.records import TurnRecord
from tests.on_cluster.node.scenario import (
    change,
    conditions,
    execute,
    finished,
    living_pods,
    pods_of,
    report,
    running,
    start_stand_in,
    tell,
    told,
)


def test_what_crashes_always_uses_up_its_retries_and_shows_its_traceback(place: Place, turns: TurnRecord) -> None:
    start_stand_in(place, "crash", run_s=1, crash="the disk is on fire", spec={"lifecycle": {"maxRetries": 1}})
    status = place.until("crash", finished)
    assert (status["state"], status["reason"], status["attempts"]) == ("Failed", "RetriesExhausted", 2), place.story()
    for words in ("exit code 1", "RuntimeError: the disk is on fire", "spec.lifecycle.restart"):
        assert words in status["message"]
    assert conditions(status)["Stalled"] == "True"
    assert len(pods_of(place, "crash")) == 2
    assert ("Retrying", "RetriesExhausted") in turns.of_run("crash")


def test_a_finished_run_stays_as_it_is_without_its_job(place: Place) -> None:
    start_stand_in(place, "ttl", run_s=1, spec={"lifecycle": {"ttlSecondsAfterFinished": 0}})
    start_stand_in(place, "kept", run_s=1)
    ends = {name: place.until(name, finished) for name in ("ttl", "kept")}
    assert [status["state"] for status in ends.values()] == ["Succeeded"] * 2, place.story()
    place.kube("delete", "job", "kept-trainer", "-n", place.namespace)
    place.kube("wait", "--for=delete", "job/ttl-trainer", "-n", place.namespace, "--timeout=60s")
    for name, before in ends.items():
        change(place, name, suspend=True)
        after = place.until(name, lambda status: status["observedGeneration"] == 2)
        followed = [{**one, "observedGeneration": 2} for one in before["conditions"]]
        assert after == {**before, "observedGeneration": 2, "conditions": followed}
    assert place.kube("get", "jobs", "-n", place.namespace, "-o", "name") == ""


def test_a_deadline_counts_active_time_and_not_suspends(place: Place) -> None:
    deadline = 20
    start_stand_in(place, "late", spec={"lifecycle": {"activeDeadlineSeconds": deadline}})
    place.until("late", lambda _: report(place, "late").get("progress", {}).get("step", 0) >= 80)  # after 8 s
    change(place, "late", suspend=True)
    spent = place.until("late", lambda status: status["state"] == "Suspended")["activeSeconds"]
    assert 7 < spent < deadline
    over = time.monotonic() + deadline  # past the deadline of a clock that does not stop
    status = place.until("late", lambda status: status["state"] != "Suspended" or time.monotonic() > over)
    assert (status["state"], status["activeSeconds"]) == ("Suspended", spent)
    change(place, "late", suspend=False)
    place.until("late", running)
    status = place.until("late", finished)
    assert (status["state"], status["reason"]) == ("Failed", "DeadlineExceeded"), place.story()
    assert "spec.lifecycle.activeDeadlineSeconds" in status["message"]
    assert deadline <= status["activeSeconds"] < deadline + 5
    place.kube("wait", "--for=delete", "job/late-trainer", "-n", place.namespace, "--timeout=60s")


def test_progress_that_cannot_be_asked_for_changes_no_state_and_no_figure(place: Place) -> None:
    start_stand_in(place, "mute")
    place.until("mute", running)
    (pod,) = living_pods(place, "mute")

    def reporting(status: Json) -> str | None:
        return conditions(status).get("ProgressReporting")

    with host.unreachable(pod, 8080):
        status = place.until("mute", lambda status: reporting(status) == "False")
        assert status["state"] == "Running"
        (condition,) = [one for one in status["conditions"] if one["type"] == "ProgressReporting"]
        assert "NetworkPolicy" in condition["message"]
        ask = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/end?script={}')"
        execute(place, "mute", "python3", "-c", ask)
        status = place.until("mute", finished)
    assert (status["state"], status.get("reason", "")) == ("Succeeded", ""), place.story()
    figures = {name: status["evaluation"][name] for name in ("before", "after", "gain")}
    assert figures == {"before": 0.5, "after": 0.6, "gain": 0.1}
    assert len(told(place, "Succeeded")) == 1


def test_lost_progress_is_found_again(place: Place) -> None:
    start_stand_in(place, "heard")
    place.until("heard", lambda status: conditions(status).get("ProgressReporting") == "True")
    status = place.until("heard", lambda status: "checkpoint" in status)
    assert status["progress"]["summary"].startswith("train ")
    assert status["evaluation"]["before"] == 0.5
    tell(place, "heard")
    assert place.until("heard", finished)["state"] == "Succeeded", place.story()
