"""What watches told, kept slim: runs as packed JSON, Jobs and pods as views. Five thousand runs fit in 100 MB."""

import json
from collections import defaultdict
from dataclasses import dataclass, field

from finetune_operator.model import JobView, PodView, Polled, Rejection, RunKey, RunView
from finetune_operator.objects import Json

_UNREAD = ("managedFields", "annotations")
"""Of metadata what no decision reads, and often the larger half."""


@dataclass
class Caches:
    """By run. Not the truth: what starts, ends or deletes is decided on fresh reads."""

    _runs: dict[RunKey, bytes] = field(default_factory=dict)
    _jobs: dict[RunKey, JobView] = field(default_factory=dict)
    _pods: dict[RunKey, dict[str, PodView]] = field(default_factory=lambda: defaultdict(dict))
    polled: dict[RunKey, Polled] = field(default_factory=dict)
    rejections: dict[RunKey, Rejection] = field(default_factory=dict)

    def known_runs(self) -> list[RunKey]:
        """Every known run."""
        return list(self._runs)

    def run(self, key: RunKey) -> RunView | None:
        """The run, if it is known."""
        packed = self._runs.get(key)
        return RunView.from_object(json.loads(packed)) if packed is not None else None

    def state(self, key: RunKey) -> str:
        """The run's state, without reading the rest."""
        packed = self._runs.get(key)
        return str((json.loads(packed).get("status") or {}).get("state", "")) if packed else ""

    def job(self, key: RunKey) -> JobView | None:
        """The run's Job, if it is known."""
        return self._jobs.get(key)

    def pods(self, key: RunKey) -> tuple[PodView, ...]:
        """Pods of the run's name, the oldest first."""
        pods = self._pods[key].values() if key in self._pods else ()
        return tuple(sorted(pods, key=lambda pod: (pod.created_at, pod.name)))

    def running_pods(self) -> list[tuple[RunKey, PodView]]:
        """Pods whose trainer can be asked for progress."""
        return [
            (key, pod)
            for key, pods in self._pods.items()
            for pod in pods.values()
            if pod.running and pod.ip and key in self._runs
        ]

    def put_run(self, document: Json) -> RunKey:
        """Keep a run, unless a newer version of it is kept."""
        metadata = document["metadata"]
        key = RunKey(metadata["namespace"], metadata["name"])
        slim = {name: value for name, value in metadata.items() if name not in _UNREAD}
        self._runs[key] = json.dumps({**document, "metadata": slim}, separators=(",", ":")).encode()
        return key

    def put_job(self, key: RunKey, job: JobView) -> None:
        """Keep a Job."""
        self._jobs[key] = job

    def put_pod(self, key: RunKey, pod: PodView) -> None:
        """Keep a pod."""
        self._pods[key][pod.uid] = pod

    def put_pods(self, key: RunKey, pods: tuple[PodView, ...]) -> None:
        """Keep exactly these pods of a run."""
        self._pods[key] = {pod.uid: pod for pod in pods}

    def drop_run(self, key: RunKey) -> None:
        """The run is gone, and all that was known of it besides its pods."""
        self._runs.pop(key, None)
        self.polled.pop(key, None)
        self.rejections.pop(key, None)

    def drop_job(self, key: RunKey, uid: str | None = None) -> None:
        """The Job is gone; with `uid`, that one."""
        if uid is None or ((job := self._jobs.get(key)) is not None and job.uid == uid):
            self._jobs.pop(key, None)

    def drop_pod(self, key: RunKey, uid: str) -> None:
        """The pod is gone."""
        if key in self._pods:
            self._pods[key].pop(uid, None)
            if not self._pods[key]:
                del self._pods[key]

    def uids(self) -> dict[str, RunKey]:
        """The uid of every kept Job and pod, with its run."""
        jobs = {job.uid: key for key, job in self._jobs.items()}
        return jobs | {uid: key for key, pods in self._pods.items() for uid in pods}
