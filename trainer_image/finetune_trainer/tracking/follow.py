"""A run's figures to whoever follows it: event files in its output always, other trackers where they are asked for."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from finetune_sdk.errors import FinetuneError
from finetune_sdk.storage import Store
from finetune_trainer.checkpoint.metrics import read_metrics, read_segment
from finetune_trainer.records import Recalls, StepMetrics
from finetune_trainer.tracking import outside
from finetune_trainer.tracking.outside import Sender, asked_for
from finetune_trainer.tracking.points import Point, point_of_line, point_of_test
from finetune_trainer.tracking.sinks import TrackedRun
from finetune_trainer.tracking.tensorboard import TEST, write_events


class Tracking:
    """What followers of one attempt are told. A context: leaving it waits, not long, until trackers have all.

    Trackers hear of steps whose checkpoint is whole, so that no step is told which a later attempt takes again. What
    goes wrong there is a note and ends nothing.
    """

    def __init__(self, output: Store, env: Mapping[str, str], tell: Callable[[str], None]) -> None:
        """`tell` is called from any thread and does not raise."""
        self._output = output
        self._env = env
        self._tell = tell
        self._senders: list[Sender] = []
        self._sent: int | None = None
        self._complete = False
        self.notes: list[str] = []
        """What the user was told of trackers."""

    def begin(self, run: TrackedRun) -> None:
        """Start to tell the trackers that the environment asks for."""
        for tracker in asked_for(self._env):
            if tracker.installed:
                self._senders.append(Sender(tracker, run, self._env, self._note))
            else:
                self._note(
                    f"{tracker.variable} is set, but the package {tracker.package} is not installed: "
                    f"pip install 'finetune-operator[{tracker.package}]', or unset {tracker.variable}; the run goes on "
                    f"without {tracker.title}"
                )

    def measured(self, step: int, recalls: Recalls) -> None:
        """The test set's figures after `step` steps; 0 is the base. Raises what storage raises."""
        point = point_of_test(step, recalls)
        write_events(self._output, step, TEST, [point])
        self._send([point])

    def saved(self, step: int) -> None:
        """A checkpoint is whole. Called from any one thread at a time; does not raise."""
        if not self._senders:
            return
        try:
            lines = read_metrics(self._output) if self._sent is None else read_segment(self._output, step)
        except FinetuneError:
            self._sent = None  # the next checkpoint's look takes these along
            return
        self._send_lines(line for line in lines if line.step <= step)

    def trained(self, lines: Sequence[StepMetrics]) -> None:
        """All lines, once training is done."""
        self._send_lines(lines)

    def complete(self) -> None:
        """The run's result is stored."""
        self._complete = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sender in self._senders:
            if self._complete:
                sender.send([], complete=True)
            sender.end()
        patience = outside.PATIENCE_SECONDS if self._complete else outside.SHORT_PATIENCE_SECONDS
        deadline = time.monotonic() + patience
        for sender in self._senders:
            sender.wait(max(0.0, deadline - time.monotonic()))

    def _send_lines(self, lines: Iterable[StepMetrics]) -> None:
        after = self._sent or 0
        points = [point_of_line(line) for line in lines if line.step > after]
        self._sent = max([after, *(point.step for point in points)])
        self._send(points)

    def _send(self, points: list[Point]) -> None:
        for sender in self._senders:
            sender.send(points)

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)
        self._tell(sentence)
