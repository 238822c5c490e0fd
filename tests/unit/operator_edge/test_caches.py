"""What is kept of runs, and what is forgotten."""

from datetime import UTC, datetime

from finetune_operator.caches import Caches
from finetune_operator.handlers import Handlers
from finetune_operator.model import JobView, PodView, Polled, Rejection, RunKey
from tests.unit.operator_edge.documents import job, pod, run

KEY = RunKey("team", "r")
POD = PodView.from_object(pod(KEY, "pod", "a"))
JOB = JobView.from_object(job(KEY, "job", "a"))


def refused(caches: Caches) -> None:
    caches.rejections[KEY] = Rejection(403, "refused", datetime(2026, 1, 1, tzinfo=UTC))
    caches.polled[KEY] = Polled("pod", None, 1)


def test_only_the_run_that_went_is_dropped() -> None:
    caches = Caches()
    caches.put_run(run(KEY, "b", 2))
    caches.drop_run(KEY, "a")
    assert caches.uid(KEY) == "b"
    caches.drop_run(KEY, "b")
    assert (caches.uid(KEY), caches.version(KEY), caches.run(KEY), caches.known_runs()) == ("", "", None, {})


def test_what_is_still_told_of_a_run_does_not_replace_its_namesake() -> None:
    caches = Caches()
    caches.put_run(run(KEY, "b", 3))
    assert not caches.put_run(run(KEY, "a", 2))
    assert caches.uid(KEY) == "b"


def test_a_namesake_begins_with_nothing() -> None:
    caches = Caches()
    caches.put_run(run(KEY, "a", 1))
    refused(caches)
    caches.put_run(run(KEY, "b", 2))
    assert (caches.rejections, caches.polled) == ({}, {})


def test_only_the_job_that_went_is_dropped() -> None:
    caches = Caches()
    caches.put_job(KEY, JOB)
    caches.drop_job(KEY, "another")
    assert caches.job(KEY) == JOB
    caches.drop_job(KEY, "job")
    assert caches.job(KEY) is None


def test_no_pods_are_no_entry() -> None:
    caches = Caches()
    caches.put_pods(KEY, (POD,))
    assert caches.pods(KEY) == (POD,)
    caches.put_pods(KEY, ())
    assert caches._pods == {}
    caches.put_pod(KEY, POD)
    caches.drop_pod(KEY, "pod")
    assert caches._pods == {}


def test_uids_are_told_by_namespace() -> None:
    caches, other = Caches(), RunKey("other", "r")
    caches.put_run(run(KEY, "a", 1))
    caches.put_run(run(other, "b", 2))
    caches.put_pod(KEY, POD)
    caches.put_job(other, JOB)
    assert (caches.uids("team"), caches.uids("other")) == ({"pod": KEY}, {"job": other})
    assert (caches.uids(None), caches.known_runs("team")) == ({"pod": KEY, "job": other}, {KEY: "a"})
    assert caches.known_runs() == {KEY: "a", other: "b"}


def test_a_deletion_is_a_nudge_so_that_the_pass_forgets_the_rest() -> None:
    caches, nudged = Caches(), list[RunKey]()
    handlers = Handlers(caches, nudged.append, lambda: None)
    caches.put_run(run(KEY, "a", 1))
    refused(caches)
    handlers.run_changed(run(KEY, "a", 2), "DELETED")
    assert (caches.run(KEY), caches.rejections, caches.polled, nudged) == (None, {}, {}, [KEY])


def test_a_copy_of_a_runs_job_under_another_name_is_nobodys() -> None:
    """Somebody saved it with its labels and owner, and made it anew to look into it: the run follows its own."""
    caches, nudged = Caches(), list[RunKey]()
    handlers = Handlers(caches, nudged.append, lambda: None)
    own, copied = job(KEY, "job", "a"), job(KEY, "copy", "a")
    copied["metadata"]["name"] = "debug"
    handlers.job_changed(own, "ADDED")
    handlers.job_changed(copied, "ADDED")
    handlers.job_changed(copied, "DELETED")
    assert (caches.job(KEY), nudged) == (JOB, [KEY])


def test_a_deletion_that_is_told_late_harms_no_namesake() -> None:
    caches = Caches()
    handlers = Handlers(caches, lambda _: None, lambda: None)
    handlers.run_changed(run(KEY, "b", 3), "ADDED")
    handlers.run_changed(run(KEY, "a", 2), "DELETED")
    assert caches.uid(KEY) == "b"
