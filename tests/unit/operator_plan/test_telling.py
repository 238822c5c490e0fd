"""Which turns become Events: those that a person would want to know of, one for each."""

from datetime import timedelta

import pytest

from finetune_operator.policies.telling import tell_again
from tests.unit.operator_plan.given import (
    NOW,
    Given,
    a_result,
    a_run,
    deleting,
    running,
    said,
    unscheduled,
    waiting,
)

MADE = a_run().seen("Starting", jobName="r-trainer").with_job()
TURNS: dict[str, tuple[Given, list[tuple[str, str]]]] = {
    "started": (a_run(), [("Normal", "Started")]),
    "running after Starting is the same turn": (MADE.with_pod(running()), []),
    "running, though nobody saw it start": (a_run().with_job().with_pod(running()), [("Normal", "Started")]),
    "still starting": (MADE.with_pod(waiting()), []),
    "held up": (MADE.with_pod(unscheduled("no")), [("Warning", "Unschedulable")]),
    "no longer held up": (a_run().seen("Starting", "Unschedulable").with_job().with_pod(waiting()), []),
    "queued": (a_run().in_queue(), [("Normal", "QueuedForQuota")]),
    "earlier pods": (a_run().with_job(deleting=True), []),
    "refused": (a_run().refused("no"), [("Warning", "JobRejected")]),
    "retrying": (a_run().trained().with_job().with_pod(said("Hung", 74)), [("Warning", "Hung")]),
    "running again": (a_run().trained("Retrying", "Hung").with_job().with_pod(running()), []),
    "suspending": (a_run(suspend=True).trained().with_job().with_pod(deleting(running())), []),
    "suspended": (a_run(suspend=True).trained("Suspending").with_job(suspended=True), [("Normal", "Suspended")]),
    "failed": (a_run(compute={"nodes": 2}), [("Warning", "InvalidSpec")]),
    "succeeded": (
        a_run().trained().with_job(condition="Complete").with_pod(said("Succeeded", 0, result=a_result())),
        [("Normal", "Succeeded")],
    ),
    "succeeded without a gain": (
        a_run().trained().with_job(condition="Complete").with_pod(said("NoGain", 0, result=a_result())),
        [("Normal", "Succeeded")],
    ),
    "a generation that is followed": (a_run().trained("Succeeded").spec(suspend=True), []),
}


@pytest.mark.parametrize(("given", "told"), TURNS.values(), ids=TURNS)
def test_told(given: Given, told: list[tuple[str, str]]) -> None:
    assert [(tell.kind, tell.reason) for tell in given.plan().tells] == told


def test_a_restarted_run_is_told_to_have_started() -> None:
    given = a_run(lifecycle={"restart": 1}).trained("Failed", "Hung")
    again = given.after(given.plan())
    assert [tell.reason for tell in again.plan().tells] == ["Started"]


def test_the_last_turn_is_told_again_by_an_operator_that_comes_after_it_and_no_old_one() -> None:
    """The one before may have died between its status and its Event."""
    given = a_run(compute={"nodes": 2})
    status = given.after(given.plan()).observed().run.status
    again = tell_again(status, NOW + timedelta(minutes=9))
    assert again == given.plan().tells[0]
    assert tell_again(status, NOW + timedelta(minutes=11)) is None
