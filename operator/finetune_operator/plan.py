"""One run's next step, decided from values alone: no clock, client, environment or logger."""

from datetime import datetime, timedelta
from typing import Any

from finetune_operator.actions import Action, CreateJob, DeleteJob, PatchJob, Plan
from finetune_operator.manifests import build_job, job_name
from finetune_operator.manifests.job import FINAL_CODES, is_queued_by_kueue
from finetune_operator.model import JobView, Observed, PodView
from finetune_operator.policies.attempts import attempt_changes
from finetune_operator.policies.cause import Cause, cause_of_job, cause_of_pod, termination_of
from finetune_operator.policies.clocks import active_deadline, active_seconds, clocks, start_deadline
from finetune_operator.policies.conditions import conditions_for
from finetune_operator.policies.progress import progress_changes, reporting, result_changes
from finetune_operator.policies.starting import QUIET, why_not_running
from finetune_operator.policies.telling import tell_of
from finetune_operator.policies.validity import mistakes_of
from finetune_operator.settings import PlanSettings
from finetune_sdk.api import reasons
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.api.status import FinetuneRunStatus

Changes = dict[str, Any]
FINISHED = ("Succeeded", "Failed")
MAX_MESSAGE = 4096


def plan(observed: Observed, now: datetime, settings: PlanSettings) -> Plan:
    """What to do about the run now; `now` is UTC. A user's mistake is a status, never an exception."""
    run = observed.run
    if run.deleting:  # its Job and pods go by their owner references
        return Plan()
    step = _Step(observed, now.replace(microsecond=0), settings)
    if run.status.state in FINISHED and not _is_restarted(observed):
        return step.clean_up()
    if mistakes := mistakes_of(run):
        return step.fail(Cause(reasons.INVALID_SPEC, "\n".join(mistakes)))
    if run.spec is None:
        raise AssertionError("a run without a spec has mistakes")
    return step.go_on(run.spec)


def _is_restarted(observed: Observed) -> bool:
    spec, status = observed.run.spec, observed.run.status
    return status.state == "Failed" and spec is not None and spec.lifecycle.restart > status.restarts


class _Step:
    """One decision in the making: its methods return the whole plan."""

    def __init__(self, observed: Observed, now: datetime, settings: PlanSettings) -> None:
        self.observed = observed
        self.run = observed.run
        self.status = observed.run.status
        self.job = observed.own_job
        self.now = now
        self.settings = settings

    def clean_up(self) -> Plan:
        """A finished run starts nothing: its generation is followed, what is left over is cleared away."""
        actions: list[Action] = []
        job, spec = self.job, self.run.spec
        if job is not None and not job.deleting:
            ttl = spec.lifecycle.ttl_seconds_after_finished if spec is not None else None
            if not job.finished:
                actions.append(DeleteJob(job.name, job.uid))
            elif ttl is not None and job.ttl != ttl:
                actions.append(PatchJob(job.name, job.uid, {"ttlSecondsAfterFinished": ttl}))
        changed = self.status.observed_generation != self.run.generation
        status = self.status.model_copy(update={"observed_generation": self.run.generation}) if changed else None
        return Plan(tuple(actions), status, needs_fresh=bool(actions) and not self.observed.fresh)

    def go_on(self, spec: FinetuneRunSpec) -> Plan:
        """A run that is not over."""
        if _is_restarted(self.observed):
            return self.restart(spec)
        job = self.job
        if job is None or job.deleting:
            return self.without_job(spec)
        if job.completed:
            return self.succeed()
        if job.failed_for_good:
            return self.fail(cause_of_job(job, self.observed, spec, self.settings))
        if spec.suspend:
            return self.suspend(job)
        if (late := self.too_late(spec)) is not None:
            return self.fail(late)
        if job.suspended:
            return self.resume(spec, job)
        return self.follow(spec, job)

    def restart(self, spec: FinetuneRunSpec) -> Plan:
        """Begin a failed run again on its output: its Job goes, all that is known of training stays."""
        actions: tuple[Action, ...] = ()
        if self.job is not None and not self.job.deleting:
            actions = (DeleteJob(self.job.name, self.job.uid),)
        changes = {
            "restarts": spec.lifecycle.restart,
            "job_uid": None,
            "completion_time": None,
            "waiting_seconds": 0.0,
            "start_time": None,
        }
        cause = Cause("", f"starts again: spec.lifecycle.restart is {spec.lifecycle.restart}")
        return self.say("Pending", cause, changes, actions, wake=self.now + timedelta(seconds=1))

    def without_job(self, spec: FinetuneRunSpec) -> Plan:
        """No Job, or one that is going: make it, as soon as no pod of the name lives."""
        living = self.observed.living_pods
        if spec.suspend:
            return self.say("Suspending", self._saving(living)) if living else self.say("Suspended", _suspended())
        if (late := self.too_late(spec)) is not None:
            return self.fail(late)
        if living or self.job is not None or self.observed.job is not None:
            names = ", ".join(pod.name for pod in living) or f"Job {job_name(self.run.key.name)}"
            waits = Cause(reasons.WAITING_FOR_PREVIOUS_PODS, f"{names} of an earlier start must end first")
            return self.say("Pending", waits, wake=self.now + self.settings.look_again)
        if (refused := self.observed.rejection) is not None:
            cause = Cause(reasons.JOB_REJECTED, f"the API server refuses the Job: {refused.message}")
            again = self.say("Starting", cause, wake=self.now + self.settings.look_again)
            return Plan((self._create(spec),), again.status, again.tells, again.wake_at, again.needs_fresh)
        image = self.status.image or spec.compute.image or self.settings.trainer_image
        changes = {"jobs": self.status.jobs + 1, "image": image, "job_name": job_name(self.run.key.name)}
        state = "Queued" if is_queued_by_kueue(self.run) else "Starting"
        cause = _queued(self.run.labels) if state == "Queued" else QUIET
        return self.say(state, cause, changes, (self._create(spec),))

    def _create(self, spec: FinetuneRunSpec) -> CreateJob:
        image = self.status.image or spec.compute.image or self.settings.trainer_image
        job = build_job(self.run, spec, self.settings, image=image, attempt=self.status.jobs + 1)
        return CreateJob(job_name(self.run.key.name), job)

    def suspend(self, job: JobView) -> Plan:
        """Asked to stop: pods save and end. A queued run's Job is deleted, since Kueue starts what others suspend."""
        actions: tuple[Action, ...] = ()
        if is_queued_by_kueue(self.run):
            actions = (DeleteJob(job.name, job.uid),)
        elif not job.suspended:
            actions = (PatchJob(job.name, job.uid, {"suspend": True}),)
        living = self.observed.living_pods
        if living or job.active:
            return self.say("Suspending", self._saving(living), {"job_uid": job.uid}, actions)
        return self.say("Suspended", _suspended(), {"job_uid": job.uid}, actions)

    def resume(self, spec: FinetuneRunSpec, job: JobView) -> Plan:
        """A suspended Job of a run that is to run: Kueue's to start if it is queued, else ours."""
        if is_queued_by_kueue(self.run):
            return self.say("Queued", _queued(self.run.labels), {"job_uid": job.uid})
        action = PatchJob(job.name, job.uid, {"suspend": False})
        return self.say("Starting", Cause("", "resumes"), {"job_uid": job.uid}, (action,), spec=spec)

    def follow(self, spec: FinetuneRunSpec, job: JobView) -> Plan:
        """The Job is at work: say where it is."""
        changes: Changes = {**self._adopted(job), **attempt_changes(self.observed, job)}
        actions: list[Action] = []
        if job.backoff_limit != spec.lifecycle.max_retries:
            actions.append(PatchJob(job.name, job.uid, {"backoffLimit": spec.lifecycle.max_retries}))
        pods = [pod for pod in self.observed.own_pods if pod.job_uid == job.uid]
        living = next((pod for pod in reversed(pods) if pod.living), None)
        wake = self._lost_at(living)
        if living is not None and (lost := self._lost(living)) is not None:
            return self.say("Retrying", lost, changes, tuple(actions), spec=spec)
        if living is not None and living.running and not living.deleting:
            return self._running(living, changes, tuple(actions), spec)
        ended = next((pod for pod in reversed(pods) if pod.ended is not None or not pod.living or pod.deleting), None)
        if ended is not None and ended.ended is not None and ended.ended.exit_code in (0, *FINAL_CODES):
            return self.say("Running", Cause("", ""), changes, tuple(actions), spec=spec)  # the Job is about to say so
        held = why_not_running(self.observed, job, living if living is None or not living.deleting else None, spec)
        if ended is None and self.status.attempts == 0 and not changes.get("attempts"):
            return self.say("Starting", held, changes, tuple(actions), wake=wake, spec=spec)
        if held is QUIET:
            held = self._went_wrong(ended, spec)
        return self.say("Retrying", held, changes, tuple(actions), wake=wake, spec=spec)

    def _adopted(self, job: JobView) -> Changes:
        """A Job that the status does not know yet: made just before this operator, or the one before it, ended."""
        if self.status.job_uid == job.uid:
            return {}
        return {"job_uid": job.uid, "job_name": job.name, "image": job.image, "jobs": max(1, self.status.jobs)}

    def _went_wrong(self, ended: PodView | None, spec: FinetuneRunSpec) -> Cause:
        if ended is None:
            if self.status.state == "Retrying":
                return Cause(self.status.reason, self.status.message)
            return Cause(reasons.BACKING_OFF, "the pod is gone; Kubernetes waits 11 s to 10 min before the next one")
        cause = cause_of_pod(ended, self.observed, spec, self.settings)
        if cause.reason in reasons.TERMINAL:  # the Job is about to fail by its policy
            return Cause(reasons.BACKING_OFF, cause.message)
        return cause

    def _running(self, pod: PodView, changes: Changes, actions: tuple[Action, ...], spec: FinetuneRunSpec) -> Plan:
        changes |= progress_changes(self.observed, pod, self.settings, self.now)
        if self.status.start_time is None:
            changes["start_time"] = pod.started_at
        reports = reporting(self.observed, pod, self.settings)
        return self.say("Running", Cause("", ""), changes, actions, reports=reports, spec=spec)

    def _lost_at(self, pod: PodView | None) -> datetime | None:
        """When a pod that is being deleted will have to be called lost; all else that may come is told by watches."""
        return pod.deletion_at + self.settings.lost_after if pod is not None and pod.deletion_at is not None else None

    def _lost(self, pod: PodView) -> Cause | None:
        """A pod past its grace period on a node that does not answer."""
        lost_at = self._lost_at(pod)
        if lost_at is None or self.now < lost_at:
            return None
        return Cause(
            reasons.NODE_LOST,
            f"node {pod.node} does not answer, and pod {pod.name} cannot be confirmed dead: bring the node back, or "
            "say that it is gone: "
            f"kubectl taint node {pod.node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
        )

    def too_late(self, spec: FinetuneRunSpec) -> Cause | None:
        """Which deadline has passed."""
        ends = active_deadline(self.status, spec.lifecycle)
        if ends is not None and self.now >= ends:
            allowed = spec.lifecycle.active_deadline_seconds
            return Cause(
                reasons.DEADLINE_EXCEEDED,
                f"the run was active for {allowed} s, which spec.lifecycle.activeDeadlineSeconds allows: raise it and "
                "spec.lifecycle.restart, and the run goes on from its last checkpoint",
            )
        starts = start_deadline(self.status, spec.lifecycle)
        if starts is not None and self.now >= starts:
            reason = self.status.reason or reasons.DEADLINE_EXCEEDED
            allowed = spec.lifecycle.start_deadline_seconds
            return Cause(
                reason, f"not started within spec.lifecycle.startDeadlineSeconds of {allowed} s: {self.status.message}"
            )
        return None

    def succeed(self) -> Plan:
        """The Job is complete: the figures are read from where they can be."""
        pods = [pod for pod in self.observed.own_pods if pod.phase == "Succeeded"]
        told = termination_of(pods[-1], self.observed) if pods else None
        changes = {**self._counted(), **result_changes(told)}
        if told is None or told.result is None:
            unread = "the run is complete, but its figures could not be read; they are in result.json and report.html"
            cause = Cause(reasons.RESULT_UNREAD, f"{unread} under {self._output()}")
        else:
            cause = Cause(reasons.NO_GAIN if told.reason == reasons.NO_GAIN else "", told.message)
        return self._end("Succeeded", cause, changes)

    def fail(self, cause: Cause) -> Plan:
        """Over: the evidence goes into the status before anything of it is deleted."""
        actions: tuple[Action, ...] = ()
        if self.job is not None and not self.job.finished and not self.job.deleting:
            actions = (DeleteJob(self.job.name, self.job.uid),)
        return self._end("Failed", cause, {**self._counted(), **result_changes(cause.termination)}, actions)

    def _counted(self) -> Changes:
        return attempt_changes(self.observed, self.job) if self.job is not None else {}

    def _end(self, state: str, cause: Cause, changes: Changes, actions: tuple[Action, ...] = ()) -> Plan:
        restarts = self.run.spec.lifecycle.restart if self.run.spec is not None else 0
        ended = {"completion_time": self.now, "progress": None, "restarts": restarts}
        return self.say(state, cause, {**changes, **ended}, actions)

    def say(
        self,
        state: str,
        cause: Cause,
        changes: Changes | None = None,
        actions: tuple[Action, ...] = (),
        *,
        wake: datetime | None = None,
        reports: bool | None = None,
        spec: FinetuneRunSpec | None = None,
    ) -> Plan:
        """The plan that goes on as `state` because of `cause`."""
        spec = spec or self.run.spec
        said: Changes = {"state": state, "reason": cause.reason, "message": cause.message[:MAX_MESSAGE]}
        said |= {"observed_generation": self.run.generation, **(changes or {}), **clocks(self.status, state, self.now)}
        status = self.status.model_copy(update=said)
        status = status.model_copy(update=self._gpu_seconds(status, spec))
        conditions = conditions_for(
            status,
            gated=spec is not None and spec.evaluation.gate is not None,
            reporting=reports,
            generation=self.run.generation,
            now=self.now,
        )
        status = status.model_copy(update={"conditions": conditions})
        if spec is not None and state not in FINISHED:
            wake = _earliest(wake, active_deadline(status, spec.lifecycle), start_deadline(status, spec.lifecycle))
        changed = status != self.status
        turning = bool(actions) or (state in FINISHED and changed)
        return Plan(
            actions,
            status if changed else None,
            (tell,) if (tell := tell_of(self.status, status)) is not None else (),
            wake,
            needs_fresh=turning and not self.observed.fresh,
        )

    def _gpu_seconds(self, status: FinetuneRunStatus, spec: FinetuneRunSpec | None) -> Changes:
        """Brought up to date whenever the clock stops or progress is written."""
        if spec is None or (status.active_since is not None and status.progress == self.status.progress):
            return {}
        gpus = spec.compute.nodes * spec.compute.gpus_per_node
        return {"gpu_seconds": round(gpus * active_seconds(status, self.now), 1)}

    def _saving(self, living: tuple[PodView, ...]) -> Cause:
        return Cause("", f"{', '.join(pod.name for pod in living) or 'the pod'} saves and ends")

    def _output(self) -> str:
        return self.run.spec.output.uri if self.run.spec is not None else "output.uri"


def _suspended() -> Cause:
    return Cause("", "no pod is left; spec.suspend: false goes on from the last checkpoint")


def _queued(labels: Any) -> Cause:
    queue = labels.get("kueue.x-k8s.io/queue-name", "")
    return Cause(reasons.QUEUED_FOR_QUOTA, f"waits for quota in Kueue's queue {queue}")


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
