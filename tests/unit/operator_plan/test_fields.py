"""Every field of the status: when it is filled, kept and cleared."""

from datetime import timedelta
from typing import Any

import pytest

from finetune_operator.model import RunView
from finetune_sdk.api.status import CheckpointRef, FinetuneRunStatus
from tests.unit.operator_plan.given import (
    NOW,
    Given,
    a_result,
    a_run,
    at,
    at_step,
    ended,
    running,
    said,
    stored,
)

AT_WORK = a_run().trained().with_job().with_pod(running())
CHECKPOINT = CheckpointRef(step=7, uri="s3://b/out/checkpoints/step-7/")
COMPLETE = AT_WORK.with_job(condition="Complete").told()


def status_of(given: Given, seconds: float = 0) -> FinetuneRunStatus:
    """After the decision."""
    return given.after(given.plan(seconds)).observed().run.status


@pytest.mark.parametrize(
    "given",
    {
        "new": a_run(),
        "suspended": a_run(suspend=True),
        "waiting": a_run().with_job(deleting=True),
        "refused": a_run().refused("no"),
        "queued": a_run().in_queue(),
        "invalid": a_run(compute={"nodes": 2}),
        "held": a_run().seen("Starting").with_job().with_pod(running()),
        "finished": a_run().trained("Succeeded"),
    }.values(),
)
def test_the_generation_is_followed_in_every_state(given: Given) -> None:
    status = status_of(given.metadata(generation=5))
    assert status.observed_generation == 5
    assert {condition.observed_generation for condition in status.conditions} <= {5}


def test_a_new_run_names_job_image_and_wait() -> None:
    status = status_of(a_run())
    assert (status.job_name, status.image, status.jobs, status.attempts) == ("r-trainer", "trainer:1", 1, 0)
    assert (status.waiting_since, status.active_since, status.start_time) == (NOW, None, None)


def test_the_first_start_ends_the_wait_and_begins_the_work() -> None:
    given = a_run().seen("Starting", waitingSince=at(-45)).with_job().with_pod(running(since=-30))
    status = status_of(given)
    began = NOW - timedelta(seconds=30)
    assert (status.start_time, status.active_since, status.attempts) == (began, began, 1)
    assert (status.waiting_since, status.waiting_seconds) == (None, 15)
    assert status.pod is not None
    assert status.pod.name == "r-trainer-1"


def test_attempts_count_pods_that_began_each_once_whatever_their_nodes_clocks_say() -> None:
    given = AT_WORK.with_pod(ended(70, since=-3600)).with_pod(ended(70, since=3600)).with_pod(running(since=-10))
    once = given.after(given.plan())
    assert once.observed().run.status.attempts == 4
    assert once.after(once.plan(5)).observed().run.status.attempts == 4


def test_a_container_that_could_not_be_started_is_an_attempt_of_its_day() -> None:
    never: dict[str, Any] = ended(128, "exec: not found", "StartError")
    never["status"]["containerStatuses"][0]["state"]["terminated"]["startedAt"] = "1970-01-01T00:00:00Z"
    status = status_of(a_run().seen("Starting").with_job().with_pod(never))
    assert status.attempts == 1
    assert status.start_time is not None
    assert status.start_time.year == 2026


def test_progress_is_rounded_summed_up_and_dated() -> None:
    status = status_of(AT_WORK.told(progress=at_step(42, loss=1.23456789), checkpoint=CHECKPOINT))
    assert status.progress is not None
    assert (status.progress.summary, status.progress.loss) == ("train 42%", 1.2346)
    assert status.progress.updated_at == NOW
    assert status.checkpoint == CHECKPOINT


def test_progress_alone_is_written_every_fifteen_seconds_at_most() -> None:
    first = AT_WORK.told(progress=at_step(1))
    later = first.after(first.plan()).told(progress=at_step(2))
    assert later.plan(14).status is None
    assert status_of(later, 15).progress == at_step(2, summary="train 2%", updated_at=NOW + timedelta(seconds=15))


def test_a_clock_that_was_set_back_does_not_hide_progress() -> None:
    first = AT_WORK.told(progress=at_step(1))
    later = first.after(first.plan(3600)).told(progress=at_step(2))
    assert later.plan().status is not None


def test_a_new_checkpoint_is_news_also_at_the_same_step() -> None:
    first = AT_WORK.told(progress=at_step(7))
    later = first.after(first.plan()).told(progress=at_step(7), checkpoint=CHECKPOINT)
    assert status_of(later, 20).checkpoint == CHECKPOINT
    assert first.after(first.plan()).plan(20).status is None


def test_recall_before_is_shown_as_soon_as_it_is_known() -> None:
    given = AT_WORK.told(progress=at_step(1), metric="image_retrieval_recall@5", before=0.123456)
    evaluation = status_of(given).evaluation
    assert evaluation is not None
    assert (evaluation.before, evaluation.after) == (0.1235, None)


def test_progress_of_a_run_that_stands_still_makes_no_promise() -> None:
    given = AT_WORK.told(progress=at_step(42, samples_per_second=9.0))
    stopped = given.after(given.plan()).spec(suspend=True).with_job(suspended=True)
    progress = status_of(Given(stopped.run, stopped.job)).progress
    assert progress is not None
    assert (progress.summary, progress.eta_seconds, progress.samples_per_second) == ("train 42%", None, None)


def test_a_success_has_figures_places_and_no_progress() -> None:
    given = AT_WORK.told(progress=at_step(99))
    given = given.after(given.plan()).with_job(condition="Complete", finished=20)
    done = Given(given.run, given.job).with_pod(said("Succeeded", 0, "0.5 to 0.61", result=a_result()))
    status = status_of(done, 30)
    assert status.evaluation is not None
    assert (status.evaluation.after, status.evaluation.gain) == (0.6123, 0.1123)
    assert status.evaluation.interval95 == [0.0512, 0.15]
    assert status.artifacts is not None
    assert status.artifacts.model == "s3://b/out/model/"
    assert status.checkpoint is not None
    assert status.checkpoint.step == 40
    assert status.progress is None
    assert status.completion_time == NOW + timedelta(seconds=20)
    assert (status.active_since, status.gpu_seconds) == (None, 50)


def test_a_missed_gate_has_its_figures_too() -> None:
    gated = a_run(evaluation={"gate": {"minGain": 0.2}}).trained()
    status = status_of(gated.with_job(condition="Failed").with_pod(said("GateNotMet", 80, "0.11", result=a_result())))
    assert status.evaluation is not None
    assert status.evaluation.after == 0.6123
    conditions = {condition.type: condition.status for condition in status.conditions}
    assert (conditions["GatePassed"], conditions["Succeeded"]) == ("False", "False")


def test_a_gate_that_was_passed_says_so_and_none_says_nothing() -> None:
    done = {"condition": "Complete"}
    passed = status_of(a_run(evaluation={"gate": {"minGain": 0.1}}).trained().with_job(**done))
    ungated = status_of(a_run().trained().with_job(**done))
    assert [one.status for one in passed.conditions if one.type == "GatePassed"] == ["True"]
    assert [one.status for one in ungated.conditions if one.type == "GatePassed"] == []


def test_three_misses_say_that_nothing_is_reported_and_change_no_state() -> None:
    two, three = AT_WORK.told(misses=2), AT_WORK.told(misses=3)
    assert [one for one in status_of(two).conditions if one.type == "ProgressReporting"] == []
    (condition,) = [one for one in status_of(three).conditions if one.type == "ProgressReporting"]
    assert condition.status == "False"
    assert "NetworkPolicy" in condition.message
    assert status_of(three).state == "Running"
    again = three.after(three.plan()).told(progress=at_step(1))
    (condition,) = [one for one in status_of(again).conditions if one.type == "ProgressReporting"]
    assert condition.status == "True"


def test_progress_of_another_pod_is_not_this_ones() -> None:
    assert AT_WORK.after(AT_WORK.plan()).told("r-trainer-0", progress=at_step(1)).plan().status is None


def test_a_condition_keeps_its_time_while_it_keeps_its_status() -> None:
    before = {one.type: one for one in AT_WORK.observed().run.status.conditions}
    failed = a_run().trained().with_job(condition="Failed").with_pod(said("DataInvalid", 65))
    after = {one.type: one for one in status_of(failed).conditions}
    assert after["Accepted"].last_transition_time == before["Accepted"].last_transition_time
    assert after["Succeeded"].last_transition_time == after["Stalled"].last_transition_time == NOW


def test_a_job_that_was_never_accepted_does_not_say_that_it_was() -> None:
    for given, holds in (
        (a_run(compute={"nodes": 2}), "False"),
        (a_run().refused("no"), "Unknown"),
        (a_run(), "True"),
        (a_run(lifecycle={"startDeadlineSeconds": 1}).seen("Pending", "JobRejected", jobUid=None, waitingSeconds=1),
         "False"),
    ):  # fmt: skip
        (accepted,) = [one for one in status_of(given).conditions if one.type == "Accepted"]
        assert accepted.status == holds


def test_nothing_is_written_where_nothing_changed() -> None:
    for given in (AT_WORK, COMPLETE, a_run(suspend=True), a_run().refused("no"), a_run().with_job(deleting=True)):
        decided = given.plan()
        again = given.after(decided).plan(5)
        assert (again.status, again.actions, again.tells) == (None, (), ())


def test_a_status_of_another_version_is_read_as_far_as_it_is_known() -> None:
    status = {"state": "Succeeded", "attempts": "many", "futuristic": 1, "observedGeneration": 1}
    view = RunView.from_object({**a_run().run, "status": status})
    assert (view.status.state, view.status.attempts) == ("Succeeded", 0)
    assert Given({**a_run().run, "status": status}).plan().actions == ()


def test_what_is_stored_comes_back_as_it_was() -> None:
    status = status_of(AT_WORK.told(progress=at_step(42), checkpoint=CHECKPOINT))
    assert RunView.from_object({**a_run().run, "status": stored(status)}).status == status
