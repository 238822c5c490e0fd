"""Whatever happens, in whatever order, and wherever the operator dies: the same few things hold."""

from itertools import pairwise

import pytest

from finetune_operator.plan import FINISHED
from finetune_operator.policies.clocks import active_deadline, active_seconds, start_deadline
from finetune_sdk.api.reasons import REASONS
from finetune_sdk.api.status import FinetuneRunStatus
from tests.unit.operator_plan.given import Json, stored
from tests.unit.operator_plan.life import Life

STEPS = 60
SEEDS = range(32)
PASSES = 6
"""In so many the operator has done all that there is to do, if nothing else happens."""
SPECS: tuple[Json, ...] = (
    {},
    {"lifecycle": {"maxRetries": 1, "activeDeadlineSeconds": 90}},
    {"lifecycle": {"startDeadlineSeconds": 60, "ttlSecondsAfterFinished": 5}},
    {"lifecycle": {"startDeadlineSeconds": 10, "activeDeadlineSeconds": 20}},
)


def a_life(seed: int) -> Life:
    return Life(seed, **SPECS[seed % len(SPECS)])


def status_of(life: Life) -> FinetuneRunStatus:
    return life.given.observed().run.status


def settle(life: Life) -> None:
    """Passes until there is nothing to do."""
    for _ in range(PASSES):
        plan = life.decide()
        if plan.status is None and not plan.actions:
            return
        life.carry_out(plan)
    raise AssertionError(f"never at rest: {plan}")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_life_holds_what_it_promises(seed: int) -> None:
    life = a_life(seed)
    seen = [status_of(life)]
    for _ in range(STEPS):
        life.happen()
        plan = life.decide()
        writes = len(plan.actions) + 1
        life.carry_out(plan, dies_after=life.draw.choice((0, 1, 2, writes, writes, writes)))
        assert len(life.living()) <= 1
        check_the_wake(life)
        seen.append(status_of(life))
    for before, after in pairwise(seen):
        check_the_turn(before, after)
    assert len({status.state for status in seen}) > 2, "a life of little interest"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_decided_twice_is_done_once(seed: int) -> None:
    life = a_life(seed)
    for _ in range(STEPS):
        life.happen()
        settle(life)
        assert status_of(life).observed_generation == life.given.run["metadata"]["generation"]
        plan = life.decide()
        assert (plan.status, plan.actions, plan.tells) == (None, (), ())


@pytest.mark.parametrize("seed", SEEDS)
def test_every_life_comes_to_an_end_if_it_may(seed: int) -> None:
    life = a_life(seed)
    for _ in range(STEPS):
        life.happen()
        life.carry_out(life.decide(), dies_after=life.draw.choice((0, 1, 2, 3)))
    life.given, life.lost = life.given.spec(suspend=False), False
    for _ in range(200):
        life.seconds += 5
        settle(life)
        if status_of(life).state in FINISHED:
            return
        life.job_controller()
        life.kubelet()
    raise AssertionError(f"it does not end: {status_of(life)}")


def check_the_turn(before: FinetuneRunStatus, after: FinetuneRunStatus) -> None:
    """What holds from one status to the next."""
    assert FinetuneRunStatus.model_validate(stored(after)) == after
    assert after.reason in REASONS | {""}
    assert after.observed_generation >= before.observed_generation
    if before.state == "Succeeded":
        assert after.state == "Succeeded"
    if before.state == "Failed" and after.state != "Failed":
        assert (after.state, after.restarts > before.restarts) == ("Pending", True)
    for name in ("gpu_seconds", "attempts", "jobs", "restarts", "active_seconds"):
        assert getattr(after, name) >= getattr(before, name), name
    assert (after.completion_time is not None) == (after.state in FINISHED)
    if after.completion_time is not None and after.start_time is not None:
        assert after.completion_time >= after.start_time


def check_the_wake(life: Life) -> None:
    """Nothing that is due is slept through, and nobody is woken for what is past."""
    plan, now, run = life.decide(), life.moment(), life.given.observed().run
    assert plan.wake_at is None or plan.wake_at > now
    status = plan.status or run.status
    assert run.spec is not None
    if status.state in FINISHED or run.spec.suspend:
        return
    for due in (active_deadline(status, run.spec.lifecycle), start_deadline(status, run.spec.lifecycle)):
        if due is not None:
            assert plan.wake_at is not None
            assert plan.wake_at <= due
    allowed = run.spec.lifecycle.active_deadline_seconds
    late = allowed is not None and active_seconds(status, now) >= allowed
    assert not late or plan.wake_at is not None, "a restart under an old deadline fails with its next pass"
