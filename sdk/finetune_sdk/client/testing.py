"""`FakeRunClient`: a RunClient without a cluster, whose runs take the course that a test scripts.

fake = FakeRunClient()
fake.when("create", lambda run: fake.succeed(run.metadata.name, before=0.21, after=0.34))
assert promote(fake, "run.yaml") == "promoted"     # your code, which creates a run and waits for it
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from finetune_sdk.api.reasons import State
from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.api.status import FinetuneRunStatus, PodRef, ProgressStage, RunProgress
from finetune_sdk.client import course
from finetune_sdk.client.artifacts import OWNER, REPORT, RESULT, RUN, Owner
from finetune_sdk.client.documents import RunLike
from finetune_sdk.client.memory import MemoryCluster
from finetune_sdk.client.runs import RunClient

PATIENCE_SECONDS = 10.0
UserAction = Literal["create", "suspend", "resume", "retry"]
Reaction = Callable[[FinetuneRun], object]


class FakeRunClient(RunClient):
    """The same methods with the same rules and errors, in memory; and methods that do what an operator would.

    Nothing happens by itself: a run that was created waits until it is told what becomes of it.
    """

    def __init__(self, *, namespace: str = "default", patience: float = PATIENCE_SECONDS) -> None:
        """`patience`: a wait or watch without a timeout in which nothing happens for so many seconds fails the test."""
        self._memory = MemoryCluster(namespace, patience)
        self._reactions: list[tuple[UserAction, str | None, Reaction]] = []
        super().__init__(cluster=self._memory)

    def when(self, action: UserAction, then: Reaction, *, name: str | None = None) -> None:
        """Call `then` with the run after each such action of the code under test; `name`: of that run only."""
        self._reactions.append((action, name, then))

    def move(
        self, name: str, state: State, reason: str = "", message: str = "", *, namespace: str | None = None
    ) -> FinetuneRun:
        """The run comes to any state, such as Queued or Suspended."""
        run = self.get(name, namespace=namespace)
        if state not in ("Running", "Suspending"):
            self._memory.end_pods(run.metadata.uid or "", "Succeeded" if state == "Succeeded" else "Failed")
        return self._write(run, course.moved(run, self._memory.now(), state, reason, message))

    def progress(
        self,
        name: str,
        *,
        stage: ProgressStage = "train",
        percent: float | None = None,
        step: int | None = None,
        total_steps: int | None = None,
        namespace: str | None = None,
    ) -> FinetuneRun:
        """The run's trainer works, in a new pod if the last one has ended, and is so far."""
        run = self.get(name, namespace=namespace)
        now = self._memory.now()
        pod = self._pod(run)
        summary = stage if percent is None else f"{stage} {percent:.0f}%"
        told = RunProgress(
            stage=stage, percent=percent, step=step, total_steps=total_steps, summary=summary, updated_at=now
        )
        return self._write(run, course.running(run, now, pod, told))

    def log(self, name: str, *lines: str, namespace: str | None = None) -> None:
        """The run's trainer writes lines to its log."""
        pod = self._pod(self.get(name, namespace=namespace))
        for line in lines:
            self._memory.write_log(pod.uid, line)

    def succeed(
        self,
        name: str,
        *,
        before: float,
        after: float,
        interval: tuple[float, float] | None = None,
        report: bytes | None = None,
        namespace: str | None = None,
    ) -> FinetuneRun:
        """The run succeeds with recall `before` and `after`, from 0 to 1; model, result and report are stored.

        `interval`: of the gain, low and high. `report`: None, a page of one line. Equal figures are NoGain.
        """
        run = self.get(name, namespace=namespace)
        now = self._memory.now()
        page = report if report is not None else f"<!doctype html>\n<title>{name}</title>\n".encode()
        self._store(run, now, {RESULT: b"{}\n", REPORT: page, "model/open_clip_model.safetensors": b"weights"})
        self._memory.end_pods(run.metadata.uid or "", "Succeeded")
        return self._write(run, course.succeeded(run, now, before=before, after=after, interval=interval))

    def fail(self, name: str, reason: str, message: str = "", *, namespace: str | None = None) -> FinetuneRun:
        """The run fails; `reason` is one of finetune_sdk.api.reasons, such as DataInvalid."""
        run = self.get(name, namespace=namespace)
        now = self._memory.now()
        self._store(run, now, {})
        self._memory.end_pods(run.metadata.uid or "", "Failed")
        return self._write(run, course.failed(run, now, reason, message))

    # The code under test calls these; what was scripted happens after them.

    def create(self, run: RunLike, *, namespace: str | None = None) -> FinetuneRun:
        return self._react("create", super().create(run, namespace=namespace))

    def suspend(self, name: str, *, namespace: str | None = None) -> FinetuneRun:
        return self._react("suspend", super().suspend(name, namespace=namespace))

    def resume(self, name: str, *, namespace: str | None = None) -> FinetuneRun:
        return self._react("resume", super().resume(name, namespace=namespace))

    def retry(self, name: str, *, namespace: str | None = None) -> FinetuneRun:
        return self._react("retry", super().retry(name, namespace=namespace))

    def _react(self, action: UserAction, run: FinetuneRun) -> FinetuneRun:
        for wanted, name, then in self._reactions:
            if wanted == action and name in (None, run.metadata.name):
                then(run)
        return run

    def _write(self, run: FinetuneRun, status: FinetuneRunStatus) -> FinetuneRun:
        namespace, name = run.metadata.namespace or "", run.metadata.name
        self._memory.set_status(namespace, name, status)
        return self.get(name, namespace=namespace)

    def _pod(self, run: FinetuneRun) -> PodRef:
        namespace, uid = run.metadata.namespace or "", run.metadata.uid or ""
        pods = [pod for pod in self._memory.list_pods(namespace, "") if pod["status"]["phase"] == "Running"]
        ours = [pod for pod in pods if uid in pod["metadata"]["labels"].values()]
        metadata = (ours[-1] if ours else self._memory.add_pod(self._memory.get_run(namespace, run.metadata.name)))[
            "metadata"
        ]
        return PodRef(name=metadata["name"], uid=metadata["uid"], started_at=metadata["creationTimestamp"])

    def _store(self, run: FinetuneRun, now: datetime, objects: dict[str, bytes]) -> None:
        store = self._memory.open_store(run.spec.output.uri, None)
        owner = Owner(run=run.metadata.uid or "", process="fake", epoch=1, since=now)
        store.write(OWNER, owner.model_dump_json(by_alias=True).encode())
        store.write(RUN, b"{}\n")
        for key, data in objects.items():
            store.write(key, data)
