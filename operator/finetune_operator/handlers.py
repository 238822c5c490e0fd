"""What watches tell is kept, and its run nudged. Nothing is decided here, and nothing written to the cluster."""

from collections.abc import Callable

from finetune_operator.caches import Caches
from finetune_operator.model import JobView, PodView, RunKey
from finetune_operator.objects import Json
from finetune_operator.resync import key_of, key_of_job, key_of_label

DELETED = "DELETED"


class Handlers:
    """What feeds `caches`. `nudge` asks for a pass; `listed` hears of every list, the first and those after a gap."""

    def __init__(self, caches: Caches, nudge: Callable[[RunKey], None], listed: Callable[[], None]) -> None:
        self._caches = caches
        self._nudge = nudge
        self._listed = listed

    def run_changed(self, document: Json, kind: str | None) -> None:
        """A FinetuneRun came, changed or went."""
        key = key_of(document)
        if kind == DELETED:
            self._caches.drop_run(key, document["metadata"]["uid"])
            self._nudge(key)  # the pass that meets no run forgets the rest of it
        elif self._caches.put_run(document):
            self._nudge(key)
        self._hear(kind)

    def job_changed(self, document: Json, kind: str | None) -> None:
        """A Job of ours came, changed or went."""
        if (key := key_of_job(document)) is not None:
            if kind == DELETED:
                self._caches.drop_job(key, document["metadata"]["uid"])
                self._nudge(key)
            elif self._caches.put_job(key, JobView.from_object(document)):
                self._nudge(key)
        self._hear(kind)

    def pod_changed(self, document: Json, kind: str | None) -> None:
        """A pod of ours came, changed or went."""
        if (key := key_of_label(document)) is not None:
            if kind == DELETED:
                self._caches.drop_pod(key, document["metadata"]["uid"])
                self._nudge(key)
            elif (pod := PodView.from_object(document)) not in self._caches.pods(key):
                self._caches.put_pod(key, pod)
                self._nudge(key)
        self._hear(kind)

    def _hear(self, kind: str | None) -> None:
        if kind is None:  # kopf's mark of an object that was listed
            self._listed()
