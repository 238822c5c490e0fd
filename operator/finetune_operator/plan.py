"""One run's next step, decided from values alone: no clock, client, environment or logger."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from finetune_operator.actions import Action, CreateJob, DeleteJob, PatchJob, Plan
from finetune_operator.manifests import build_job, job_name
from finetune_operator.model import SUSPENDED_ANNOTATION, JobView, Observed
from finetune_operator.policies.attempts import attempt_changes, end_changes
from finetune_operator.policies.cause import Cause, cause_of_job, joined, result_told
from finetune_operator.policies.clocks import active_deadline, active_seconds, clocks, start_deadline, waiting_seconds
from finetune_operator.policies.conditions import conditions_for, followed
from finetune_operator.policies.following import AT_WORK, standing_of
from finetune_operator.policies.lost import lost_cause, next_loss
from finetune_operator.policies.progress import progress_changes, reporting, result_changes, standstill
from finetune_operator.policies.starting import QUIET
from finetune_operator.policies.telling import tell_of
from finetune_operator.policies.validity import mistakes_of
from finetune_operator.policies.waiting import in_the_way, refused
from finetune_operator.policies.words import bounded
from finetune_operator.settings import PlanSettings
from finetune_sdk.api import reasons
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.api.status import FinetuneRunStatus

Changes = dict[str, Any]
FINISHED = ("Succeeded", "Failed")
NEWER = "This operator does not know all of the spec: upgrade it, then raise spec.lifecycle.restart"


def plan(observed: Observed, now: datetime, settings: PlanSettings) -> Plan:
    """What to do about the run now; `now` is UTC. A user's mistake is a status, never an exception."""
    run, job = observed.run, observed.own_job
    if run.deleting:  # its Job and pods go by their owner references
        return Plan()
    step = _Step(observed, now.replace(microsecond=0), settings)
    if run.status.state in FINISHED and not _is_restarted(observed):
        return step.clean_up()
    if (job is None or _is_restarted(observed)) and (mistakes := mistakes_of(run)):
        said = "\n".join(mistakes)
        return step.fail(Cause(reasons.INVALID_SPEC, f"{said}\n{NEWER}" if run.mistakes else said))
    if run.spec is None:  # made by an operator that could read it: it goes on until one is there again
        return Plan()
    return step.go_on(run.spec)


def _is_restarted(observed: Observed) -> bool:
    spec, status = observed.run.spec, observed.run.status
    return status.state == "Failed" and spec is not None and spec.lifecycle.restart > status.restarts


def _is_past(job: JobView, status: FinetuneRunStatus) -> bool:
    """Whether `job` is of before a restart, or of another queue: it goes, and says nothing of what comes after it."""
    if job.uid != status.job_uid:
        return False
    if status.state == "Pending":
        return True
    # Restarted while suspended. What was at work since the restart has a start time, and its failure is its own.
    lingers = job.deleting and job.failed_for_good
    return lingers and status.state in ("Suspending", "Suspended") and status.start_time is None


class _Step:
    """One decision in the making: its methods return the whole plan."""

    def __init__(self, observed: Observed, now: datetime, settings: PlanSettings) -> None:
        self.observed = observed
        self.run = observed.run
        self.status = observed.run.status
        self.job = observed.own_job
        self.now = now
        self.settings = settings
        self.refusal = refused(observed, settings, now)
        self.past = self.job is not None and _is_past(self.job, self.status)

    def clean_up(self) -> Plan:
        """A finished run starts nothing: its generation is followed, what is left over is cleared away."""
        actions: list[Action] = []
        wake: datetime | None = None
        job, spec, generation = self.job, self.run.spec, self.run.generation
        if job is not None and not job.deleting:
            ttl = spec.lifecycle.ttl_seconds_after_finished if spec is not None else job.ttl
            if not job.finished:
                actions.append(DeleteJob(job.name, job.uid))
            elif job.ttl != ttl and self.refusal is not None:
                wake = self.refusal[1]
            elif job.ttl != ttl:
                actions.append(PatchJob(job.name, job.uid, {"ttlSecondsAfterFinished": ttl}))
        status = None
        if self.status.observed_generation != generation:
            seen = {"observed_generation": generation, "conditions": followed(self.status.conditions, generation)}
            status = self.status.model_copy(update=seen)
        needs_fresh = bool(actions) and not self.observed.fresh
        return Plan(tuple(actions), status, wake_at=wake, needs_fresh=needs_fresh)

    def go_on(self, spec: FinetuneRunSpec) -> Plan:
        """A run that is not over."""
        job = self.job
        if _is_restarted(self.observed) or (self.past and self._deletion()):
            return self.restart(spec)
        if self.past:
            return self.without_job(spec)
        if job is not None and job.completed:
            return self.succeed(job)
        if job is not None and job.failed_for_good:
            return self.fail(cause_of_job(job, self.observed, spec, self.settings))
        if job is None or job.deleting:
            return self.without_job(spec)
        if spec.suspend:
            return self.suspend(spec, job)
        if (late := self.too_late(spec, job)) is not None:
            return self.fail(late)
        if job.suspended:
            return self.resume(job)
        return self.follow(spec, job)

    def restart(self, spec: FinetuneRunSpec) -> Plan:
        """Begin a failed run again on its output: its Job goes, all that is known of training stays."""
        changes: Changes = {}
        if self.status.state == "Failed":
            changes = {"restarts": spec.lifecycle.restart, "completion_time": None, "start_time": None, "image": None}
            changes["waiting_seconds"] = 0.0
            cause = Cause("", f"starts again: spec.lifecycle.restart is {spec.lifecycle.restart}")
        elif not spec.suspend and (late := self.too_late(spec)) is not None:
            return self.fail(late)
        else:
            cause = Cause(self.status.reason, self.status.message)
        return self.say("Pending", cause, changes, self._deletion(), wake=self.now + timedelta(seconds=1))

    def without_job(self, spec: FinetuneRunSpec) -> Plan:
        """No Job, or one that is going: make it, as soon as no pod of the name lives."""
        if spec.suspend:
            return self._stopping({}, ())
        if (late := self.too_late(spec)) is not None:
            return self.fail(late)
        vanished = self.status.state in AT_WORK
        state = "Retrying" if vanished else "Pending"
        if (cause := in_the_way(self.observed, self.settings, self.now)) is not None:
            waited = (self.status.state, self.status.reason) == (state, cause.reason)
            if waited and not self.observed.fresh:  # else what a watch missed would be waited for
                return Plan(needs_fresh=True)
            return self.say(state, cause, wake=self.now + self.settings.look_again)
        if self.refusal is not None:
            return self.say(state, self.refusal[0], wake=self.refusal[1])
        if not self.observed.fresh:  # what is read then decides, so that no Job need be built now
            return Plan(needs_fresh=True)
        name = job_name(self.run.key.name)
        image = self.status.image or spec.compute.image or self.settings.trainer_image
        job = build_job(self.run, spec, self.settings, image=image, attempt=self.status.jobs + 1)
        changes = {"jobs": self.status.jobs + 1, "image": image, "job_name": name, "pod": None}
        actions = (CreateJob(name, job),)
        if self.run.queue:
            return self.say("Queued", self._queued(self.run.queue), changes, actions)
        if vanished:
            said = (
                f"Job {name} was deleted before its end: it is made again, and its pod goes on from the last checkpoint"
            )
            return self.say("Retrying", Cause(reasons.BACKING_OFF, said), changes, actions)
        return self.say("Starting", QUIET, changes, actions)

    def suspend(self, spec: FinetuneRunSpec, job: JobView) -> Plan:
        """Asked to stop: pods save and end. A queued run's Job is deleted, since Kueue starts what others suspend."""
        actions: tuple[Action, ...] = ()
        if self.run.queue or job.queue:
            actions = self._deletion()
        elif not job.suspended and self.refusal is not None:
            return self.follow(spec, job)
        elif not job.suspended:
            actions = (PatchJob(job.name, job.uid, {"suspend": True}, {SUSPENDED_ANNOTATION: "true"}),)
        return self._stopping(
            {**self._adopted(job), **attempt_changes(self.observed, job)}, actions, busy=job.active > 0
        )

    def _stopping(self, changes: Changes, actions: tuple[Action, ...], *, busy: bool = False) -> Plan:
        living = self.observed.living_pods
        if not living and not busy:
            begun = self.status.start_time is not None or "start_time" in changes
            goes = "goes on from the last checkpoint" if begun else "starts it"
            return self.say("Suspended", Cause("", f"no pod is left; spec.suspend: false {goes}"), changes, actions)
        names = ", ".join(pod.name for pod in living) or "the pod"
        lost, wake = lost_cause(living, self.settings, self.now), next_loss(living, self.settings, self.now)
        if lost is not None or not living or not all(pod.deleting for pod in living):
            # A pod that saves ends within its grace. Any other may have gone unwatched.
            if self.status.state == "Suspending" and not self.observed.fresh:
                return Plan(needs_fresh=True)
            wake = self.now + self.settings.look_again
        return self.say("Suspending", lost or Cause("", f"{names} saves and ends"), changes, actions, wake=wake)

    def resume(self, job: JobView) -> Plan:
        """A suspended Job of a run that is to run: ours to start only where it was ours to suspend."""
        changes = {**self._adopted(job), **attempt_changes(self.observed, job)}
        if not job.suspended_by_us:
            waits, living = self._queued(job.queue), self.observed.living_pods
            state = "Suspending" if living else "Queued"
            return self.say(state, waits, changes, wake=next_loss(living, self.settings, self.now))
        if self.run.queue != job.queue:  # Kueue reads the Job's label, which is as it was when the Job was made
            said = f"the Job is made anew, for Kueue's queue {self.run.queue}"
            return self.say("Pending", Cause("", said), changes, self._deletion(), wake=self.now + timedelta(seconds=1))
        if self.refusal is not None:
            return self.say("Starting", self.refusal[0], changes, wake=self.refusal[1])
        action = PatchJob(job.name, job.uid, {"suspend": False}, {SUSPENDED_ANNOTATION: None})
        return self.say("Starting", QUIET, changes, (action,))

    def follow(self, spec: FinetuneRunSpec, job: JobView) -> Plan:
        """The Job is at work, also where its suspend was refused: say where it is."""
        changes = {**self._adopted(job), **attempt_changes(self.observed, job)}
        actions: tuple[Action, ...] = ()
        stands = standing_of(self.observed, job, spec, self.settings, self.now)
        cause, wake = stands.cause, stands.wake
        differs = job.backoff_limit != spec.lifecycle.max_retries
        if self.refusal is not None and (differs or spec.suspend):
            cause = cause if cause.reason else self.refusal[0]
            wake = _earliest(wake, self.refusal[1])
        elif differs:
            actions = (PatchJob(job.name, job.uid, {"backoffLimit": spec.lifecycle.max_retries}),)
        reports = None
        if stands.running is not None:
            changes |= progress_changes(self.observed, stands.running, self.settings, self.now)
            reports = reporting(self.observed, stands.running, self.settings)
        return self.say(stands.state, cause, changes, actions, wake=wake, reports=reports)

    def _adopted(self, job: JobView) -> Changes:
        """A Job that the status does not know yet: made just before this operator, or the one before it, ended."""
        if self.status.job_uid == job.uid:
            return {}
        known = {"job_uid": job.uid, "job_name": job.name, "image": job.image}
        return {**known, "jobs": self.status.jobs + 1, "pod": None}

    def too_late(self, spec: FinetuneRunSpec, job: JobView | None = None) -> Cause | None:
        """Which deadline has passed; `job` is the one at work, a pod of which may have started unseen."""
        lifecycle = spec.lifecycle
        allowed = lifecycle.active_deadline_seconds
        if allowed is not None and active_seconds(self.status, self.now) >= allowed:
            return Cause(
                reasons.DEADLINE_EXCEEDED,
                f"the run was active for {allowed} s, which spec.lifecycle.activeDeadlineSeconds allows: raise it and "
                "spec.lifecycle.restart, and the run goes on from its last checkpoint",
            )
        allowed = lifecycle.start_deadline_seconds
        pods = [pod for pod in self.observed.own_pods if job is not None and pod.job_uid == job.uid]
        begun = self.status.start_time is not None or any(pod.started_at for pod in pods)
        if allowed is None or begun or waiting_seconds(self.status, self.now) < allowed:
            return None
        said = f"not started within spec.lifecycle.startDeadlineSeconds of {allowed} s: {self.status.message}"
        again = "once that is mended, raise spec.lifecycle.restart to start it again"
        return Cause(self.status.reason or reasons.DEADLINE_EXCEEDED, joined(said, again))

    def succeed(self, job: JobView) -> Plan:
        """The Job is complete: the figures are read from where they can be."""
        told = result_told(job, self.observed)
        if told is None or told.result is None:
            output = self.run.spec.output.uri if self.run.spec is not None else "spec.output.uri"
            unread = "the run is complete, but its figures could not be read; they are in result.json and report.html"
            cause = Cause(reasons.RESULT_UNREAD, f"{unread} under {output}")
        else:
            cause = Cause(reasons.NO_GAIN if told.reason == reasons.NO_GAIN else "", told.message)
        return self._end("Succeeded", replace(cause, termination=told))

    def fail(self, cause: Cause) -> Plan:
        """Over: the evidence goes into the status before anything of it is deleted."""
        over = self.job is None or self.job.finished
        return self._end("Failed", cause, () if over else self._deletion())

    def _end(self, state: str, cause: Cause, actions: tuple[Action, ...] = ()) -> Plan:
        """Over since the Job was, also where nobody looked then."""
        job, spec = None if self.past else self.job, self.run.spec
        at = min(self.now, job.finished_at or self.now) if job is not None else self.now
        changes: Changes = {}
        if job is not None:
            changes = {**self._adopted(job), **end_changes(self.observed, job, at)}
        began = changes.get("start_time") or self.status.start_time or at
        restarts = max(self.status.restarts, spec.lifecycle.restart if spec is not None else 0)
        ended = {"completion_time": max(at, began), "progress": None, "restarts": restarts}
        return self.say(state, cause, {**changes, **result_changes(cause.termination), **ended}, actions, at=at)

    def _deletion(self) -> tuple[Action, ...]:
        job = self.job
        return (DeleteJob(job.name, job.uid),) if job is not None and not job.deleting else ()

    def say(
        self,
        state: str,
        cause: Cause,
        changes: Changes | None = None,
        actions: tuple[Action, ...] = (),
        *,
        wake: datetime | None = None,
        reports: bool | None = None,
        at: datetime | None = None,
    ) -> Plan:
        """The plan that goes on as `state` because of `cause`, since `at` where that is not now."""
        spec, generation, changes = self.run.spec, self.run.generation, changes or {}
        said: Changes = {"state": state, "reason": cause.reason, "message": bounded(cause.message)}
        said |= {"observed_generation": generation, **changes}
        if state != "Running" and "progress" not in changes:
            said["progress"] = standstill(self.status.progress)
        said |= clocks(
            self.status.model_copy(update=_restarting(changes)), state, at or self.now, changes.get("start_time")
        )
        status = self.status.model_copy(update=said)
        status = status.model_copy(update=self._gpu_seconds(status, spec))
        gated = spec is not None and spec.evaluation.gate is not None
        conditions = conditions_for(status, gated=gated, reporting=reports, generation=generation, now=self.now)
        status = status.model_copy(update={"conditions": conditions})
        if spec is not None and not spec.suspend and state not in FINISHED:
            wake = _earliest(wake, active_deadline(status, spec.lifecycle), start_deadline(status, spec.lifecycle))
        changed = status != self.status
        turns = (state, cause.reason) != (self.status.state, self.status.reason)
        said_of_pods = turns and (state == "Suspended" or cause.reason == reasons.NODE_LOST)
        turning = bool(actions) or (state in FINISHED and changed) or said_of_pods
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
        return {"gpu_seconds": max(status.gpu_seconds, round(gpus * active_seconds(status, self.now), 1))}

    def _queued(self, queue: str) -> Cause:
        """Who holds the Job back, and where to look."""
        namespace, job = self.run.key.namespace, job_name(self.run.key.name)
        if queue:
            said = f"waits for quota in Kueue's queue {queue}: kubectl describe workloads -n {namespace} tells more"
            return Cause(reasons.QUEUED_FOR_QUOTA, said)
        said = f"Job {job} is suspended, and not by spec.suspend: Kueue starts it, or whoever suspended it does with"
        patch = f'kubectl patch job {job} -n {namespace} --type=merge -p \'{{"spec": {{"suspend": false}}}}\''
        return Cause(reasons.QUEUED_FOR_QUOTA, f"{said} {patch}")


def _restarting(changes: Changes) -> Changes:
    """A restart forgets when training began: the start deadline counts anew."""
    return {name: changes[name] for name in ("waiting_seconds", "start_time") if name in changes and not changes[name]}


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
