"""What watches told, kept slim: runs as packed JSON, Jobs and pods as views. Five thousand runs fit in 100 MB."""

import sys
from collections import Counter
from dataclasses import dataclass, field

from pydantic_core import from_json, to_json

from finetune_operator.model import EventView, JobView, PodView, Polled, Rejection, RunKey, RunView
from finetune_operator.objects import Json

_UNREAD = ("managedFields", "annotations")
"""Of metadata what no decision reads, and often the larger half."""


@dataclass
class Caches:
    """By run. Not the truth: what starts, ends or deletes is decided on fresh reads."""

    _runs: dict[RunKey, bytes] = field(default_factory=dict)
    _states: dict[RunKey, str] = field(default_factory=dict)
    _versions: dict[RunKey, tuple[str, int]] = field(default_factory=dict)
    """Uid and resourceVersion, which within one resource are numbers that grow, from a run to its next namesake too."""
    _jobs: dict[RunKey, JobView] = field(default_factory=dict)
    _pods: dict[RunKey, dict[str, PodView]] = field(default_factory=dict)
    warnings: dict[str, tuple[EventView, ...]] = field(default_factory=dict)
    """By the uid of the Job or pod that they are about, the oldest first."""
    polled: dict[RunKey, Polled] = field(default_factory=dict)
    rejections: dict[RunKey, Rejection] = field(default_factory=dict)

    def known_runs(self, namespace: str | None = None) -> dict[RunKey, str]:
        """The uid of every known run in `namespace`; None: in all."""
        return {key: uid for key, (uid, _) in self._versions.items() if namespace in (None, key.namespace)}

    def run(self, key: RunKey) -> RunView | None:
        """The run, if it is known."""
        packed = self._runs.get(key)
        return RunView.from_object(from_json(packed)) if packed is not None else None

    def state(self, key: RunKey) -> str:
        """The run's state, without reading the rest."""
        return self._states.get(key, "")

    def counts(self) -> Counter[str]:
        """Runs by state."""
        return Counter(self._states.values())

    def job(self, key: RunKey) -> JobView | None:
        """The run's Job, if it is known."""
        return self._jobs.get(key)

    def pods(self, key: RunKey) -> tuple[PodView, ...]:
        """Pods of the run's name, the oldest first."""
        return tuple(sorted(self._pods.get(key, {}).values(), key=lambda pod: (pod.created_at, pod.name)))

    def running_pods(self) -> list[tuple[RunKey, PodView]]:
        """Pods of our Jobs whose trainer can be asked for progress."""
        return [
            (key, pod)
            for key, pods in self._pods.items()
            for pod in pods.values()
            if pod.running and pod.ip and self._is_ours(key, pod)
        ]

    def _is_ours(self, key: RunKey, pod: PodView) -> bool:
        """By the owner's uid: a label alone is anybody's to set."""
        job = self._jobs.get(key)
        return job is not None and pod.job_uid == job.uid and pod.run_uid == job.run_uid

    def held_up(self) -> dict[RunKey, list[str]]:
        """Runs whose Job is to run and whose trainer does not, with the uids that Warnings could be about."""
        found: dict[RunKey, list[str]] = {}
        for key, job in self._jobs.items():
            living = [pod for pod in self._pods.get(key, {}).values() if pod.living]
            if job.finished or job.suspended or job.deleting or any(pod.running or not pod.node for pod in living):
                continue
            found[key] = [job.uid, *(pod.uid for pod in living)]
        return found

    def put_run(self, document: Json) -> bool:
        """Keep a run, unless this version or a newer one is kept; whether it was news."""
        metadata = document["metadata"]
        key = RunKey(metadata["namespace"], metadata["name"])
        version = (metadata["uid"], int(metadata["resourceVersion"]))
        known = self._versions.get(key)
        if known is not None and known[1] >= version[1]:
            return False
        if known is not None and known[0] != version[0]:
            self.drop_run(key, known[0])
        self._versions[key] = version
        self._states[key] = sys.intern((document.get("status") or {}).get("state", ""))
        slim = {name: value for name, value in metadata.items() if name not in _UNREAD}
        self._runs[key] = to_json({**document, "metadata": slim})
        return True

    def put_job(self, key: RunKey, job: JobView) -> bool:
        """Keep a Job, unless a newer version is kept; whether it was news."""
        known = self._jobs.get(key)
        if known is not None and known.version > job.version:
            return False
        self._jobs[key] = job
        return known != job

    def put_pod(self, key: RunKey, pod: PodView) -> None:
        """Keep a pod."""
        self._pods.setdefault(key, {})[pod.uid] = pod

    def put_pods(self, key: RunKey, pods: tuple[PodView, ...]) -> None:
        """Keep exactly these pods of a run."""
        self._pods.pop(key, None)
        for pod in pods:
            self.put_pod(key, pod)

    def drop_run(self, key: RunKey, uid: str) -> None:
        """The run of that uid is gone, and all that was known of it besides its Job and pods."""
        if self.uid(key) != uid:
            return
        self._runs.pop(key, None)
        self._versions.pop(key, None)
        self._states.pop(key, None)
        self.polled.pop(key, None)
        self.rejections.pop(key, None)

    def drop_job(self, key: RunKey, uid: str) -> None:
        """The Job of that uid is gone."""
        if (job := self._jobs.get(key)) is not None and job.uid == uid:
            del self._jobs[key]

    def drop_pod(self, key: RunKey, uid: str) -> None:
        """The pod is gone."""
        if key in self._pods:
            self._pods[key].pop(uid, None)
            if not self._pods[key]:
                del self._pods[key]

    def version(self, key: RunKey) -> str:
        """The kept resourceVersion of a run; empty where it is not known."""
        return str(self._versions[key][1]) if key in self._versions else ""

    def uid(self, key: RunKey) -> str:
        """The uid of a run; empty where it is not known."""
        return self._versions[key][0] if key in self._versions else ""

    def uids(self, namespace: str | None) -> dict[str, RunKey]:
        """The uid of every kept Job and pod in `namespace`, with its run; None: in all."""
        jobs = {job.uid: key for key, job in self._jobs.items()}
        both = jobs | {uid: key for key, pods in self._pods.items() for uid in pods}
        return {uid: key for uid, key in both.items() if namespace in (None, key.namespace)}
