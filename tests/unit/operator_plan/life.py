"""A run's life and all around it: Job controller, kubelet, people, and an operator that may die at any write."""

import copy
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from finetune_operator.actions import CreateJob, DeleteJob, PatchJob, Plan
from finetune_operator.manifests.job import FINAL_CODES, STOPPED_CODE
from tests.unit.operator_plan.given import NOW, Json, a_job, a_pod, a_run, at, disrupted, ended, running, waiting

CODES = (0, 1, 65, 69, 70, STOPPED_CODE)


class Life:
    """One run; `moves` are what may happen next, each of which does nothing where it cannot."""

    def __init__(self, seed: int, **spec: Any) -> None:
        self.draw = random.Random(seed)  # noqa: S311 - a schedule
        self.given = a_run(**spec)
        self.seconds = 0.0
        self.jobs = 0
        self.pods = 0
        self.lost = False
        self.moves = (
            self.job_controller, self.job_controller, self.kubelet, self.kubelet, self.somebody_deletes_the_job,
            self.somebody_deletes_the_pod, self.somebody_suspends, self.somebody_restarts, self.a_node_is_drained,
            self.the_node_is_lost,
        )  # fmt: skip

    def happen(self) -> None:
        """Time passes, mostly forwards, and something happens."""
        self.seconds += self.draw.choice((0, 1, 7, 20, -5))
        self.draw.choice(self.moves)()

    def decide(self) -> Plan:
        """The operator's pass over what is there."""
        return self.given.plan(self.seconds)

    def carry_out(self, plan: Plan, *, dies_after: int | None = None) -> None:
        """Creates and patches, the status, deletes; an operator that dies makes so many of these writes."""
        creates = [action for action in plan.actions if not isinstance(action, DeleteJob)]
        deletes = [action for action in plan.actions if isinstance(action, DeleteJob)]
        for action in [*creates, plan.status, *deletes][:dies_after]:
            if isinstance(action, CreateJob):
                self._create(action)
            elif isinstance(action, PatchJob):
                self._patch(action)
            elif isinstance(action, DeleteJob):
                self._delete(action.uid)
            elif action is not None:
                known = self.given.job and self.given.job["metadata"]["uid"]
                made = any(isinstance(one, CreateJob) for one in creates)
                status = action.model_copy(update={"job_uid": known}) if made else action
                self.given = self.given.after(replace(plan, status=status))

    def _create(self, action: CreateJob) -> None:
        assert self.given.job is None, "a second Job"
        assert not self.living(), "a Job beside a living pod"
        self.jobs += 1
        spec: Any = action.job.spec
        job = a_job(uid=f"job-{self.jobs}", suspended=bool(spec.suspend), ours=False, began=None)
        job["spec"]["backoffLimit"] = spec.backoff_limit
        self.given = replace(self.given, job=job)

    def _patch(self, action: PatchJob) -> None:
        job = self._job()
        if job is None or job["metadata"]["uid"] != action.uid:
            return
        job["spec"] |= action.spec
        marks = job["metadata"]["annotations"] | dict(action.annotations)
        job["metadata"]["annotations"] = {key: value for key, value in marks.items() if value is not None}
        self.given = replace(self.given, job=job)

    def _delete(self, uid: str) -> None:
        if self.given.job is None or self.given.job["metadata"]["uid"] != uid:
            return
        self.given = replace(self.given, job=None)
        self._ask_pods_to_end(uid)

    def _job(self) -> Json | None:
        return copy.deepcopy(self.given.job)

    def living(self) -> list[Json]:
        """Pods that may still write."""
        return [pod for pod in self.given.pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    def _ask_pods_to_end(self, job_uid: str | None = None) -> None:
        self._change_pods(
            lambda pod: (
                {**pod, "metadata": {"deletionTimestamp": at(self.seconds + 30), **pod["metadata"]}}
                if job_uid in (None, pod["metadata"]["ownerReferences"][0]["uid"]) and pod in self.living()
                else pod
            )
        )

    def _change_pods(self, change: Any) -> None:
        changed = tuple(change(pod) for pod in self.given.pods)
        self.given = replace(self.given, pods=tuple(pod for pod in changed if pod is not None))

    def job_controller(self) -> None:
        """What the controller of Jobs does next."""
        job = self._job()
        if job is None or any(one["type"] in ("Complete", "Failed") for one in job["status"]["conditions"]):
            return
        uid, status = job["metadata"]["uid"], job["status"]
        mine = [pod for pod in self.given.pods if pod["metadata"]["ownerReferences"][0]["uid"] == uid]
        codes = [code for pod in mine if (code := exit_code(pod)) is not None]
        counted = [code for code in codes if code not in (0, STOPPED_CODE)]
        if 0 in codes:
            status["conditions"] = [self._condition("Complete")]
        elif set(counted) & set(FINAL_CODES):
            status["conditions"] = [self._condition("Failed", "PodFailurePolicy")]
        elif len(counted) > job["spec"]["backoffLimit"]:
            status["conditions"] = [self._condition("Failed", "BackoffLimitExceeded")]
        elif job["spec"]["suspend"]:
            status["conditions"] = [self._condition("Suspended")]
            self._ask_pods_to_end(uid)
        elif status["conditions"] or "startTime" not in status:
            status |= {"conditions": [], "startTime": at(self.seconds)}
        elif not self.living():
            self._make_pod(uid)
        self.given = replace(self.given, job=job)

    def _condition(self, kind: str, reason: str = "") -> Json:
        head = {"type": kind, "status": "True", "reason": reason, "message": ""}
        return {**head, "lastTransitionTime": at(self.seconds)}

    def _make_pod(self, job_uid: str) -> None:
        self.pods += 1
        name, created = f"r-trainer-{self.pods}", at(self.seconds)
        owner = [{"uid": job_uid, "controller": True}]
        self.given = self.given.with_pod(
            waiting(), name=name, uid=name, creationTimestamp=created, ownerReferences=owner
        )

    def kubelet(self) -> None:
        """A living pod goes on, ends, or is gone after it was asked to be; on a lost node it stays as it is."""
        code = self.draw.choice(CODES)
        if self.lost:
            self.lost = self.draw.random() < 0.8
            return

        def goes_on(pod: Json) -> Json | None:
            if pod not in self.living():
                return pod
            if "deletionTimestamp" in pod["metadata"]:
                return None if self.draw.random() < 0.5 else {**pod, **ended(STOPPED_CODE, since=self.seconds)}
            if pod["status"]["phase"] == "Pending":
                return {**pod, **running(since=self.seconds)}
            return {**pod, **ended(code, since=self.seconds)}

        self._change_pods(goes_on)

    def somebody_deletes_the_job(self) -> None:
        """With kubectl; half of the time it takes a while."""
        job = self._job()
        if job is not None and self.draw.random() < 0.3:
            self._delete(job["metadata"]["uid"])

    def somebody_deletes_the_pod(self) -> None:
        """With kubectl."""
        self._ask_pods_to_end()

    def a_node_is_drained(self) -> None:
        """Its pods are disrupted and gone."""
        if self.lost:
            return
        hit = a_pod("Failed", None, disrupted("EvictionByEvictionAPI"))
        self._change_pods(lambda pod: {**pod, **hit} if pod in self.living() else pod)

    def the_node_is_lost(self) -> None:
        """For a while."""
        self.lost = True

    def somebody_suspends(self) -> None:
        """Or resumes."""
        self.given = self.given.spec(suspend=not self.given.run["spec"].get("suspend", False))

    def somebody_restarts(self) -> None:
        """Whatever the state, with more time to train where that is bounded."""
        lifecycle = self.given.run["spec"].get("lifecycle", {})
        raised = {"restart": lifecycle.get("restart", 0) + 1}
        if (allowed := lifecycle.get("activeDeadlineSeconds")) is not None:
            raised["activeDeadlineSeconds"] = allowed + 60
        self.given = self.given.spec(lifecycle={**lifecycle, **raised})

    def moment(self) -> Any:
        """Now, as the status has it."""
        return NOW + timedelta(seconds=self.seconds)


def exit_code(pod: Json) -> int | None:
    """Of the trainer's container, if it has ended."""
    for one in pod["status"].get("containerStatuses", []):
        if "terminated" in one["state"]:
            code: int = one["state"]["terminated"]["exitCode"]
            return code
    return None
