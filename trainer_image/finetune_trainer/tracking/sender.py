"""The process that speaks with one tracker, so that nothing which its package does or waits for touches training.

It reads messages, JSON a line, from stdin until that ends, and says sentences for the user, a line each, on stdout.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from pydantic import TypeAdapter

from finetune_trainer.tracking.points import Point
from finetune_trainer.tracking.sinks import Sink, TrackedRun

LAST_SECONDS = 120
"""After stdin's end, where nobody waits any more because the run was killed."""
QUOTED = 300
"""Characters of what a tracker's package says."""
_POINTS = TypeAdapter(list[Point])
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|USERNAME", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s]+@")


def main() -> None:
    """Serve the tracker that the only argument names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What packages print goes nowhere: stdout is for sentences.
    said = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    env = dict(os.environ)
    run = TrackedRun.model_validate_json(sys.stdin.readline())
    messages = (json.loads(line) for line in sys.stdin)
    serve(messages, lambda: open_sink(sys.argv[1], run, env), Saying(said, env), lambda: signal.alarm(LAST_SECONDS))


def open_sink(tracker: str, run: TrackedRun, env: Mapping[str, str]) -> Sink:
    """The run in the tracker "wandb" or "mlflow"."""
    if tracker == "wandb":
        from finetune_trainer.tracking.wandb_sink import WandbSink

        return WandbSink(run, env)
    from finetune_trainer.tracking.mlflow_sink import MlflowSink

    return MlflowSink(run, env)


@dataclass
class Saying:
    """Says why a tracker takes nothing: once, in one line, without secrets."""

    out: TextIO
    env: Mapping[str, str]
    done: bool = False

    def __call__(self, error: BaseException) -> None:
        if not self.done:
            self.done = True
            print(why(error, self.env), file=self.out, flush=True)


def why(error: BaseException, env: Mapping[str, str]) -> str:
    """An error in one line, without the values of `env` that are secret and without users in URLs."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    secrets = {value for name, value in env.items() if _SECRET.search(name) and len(value) > 3}
    for secret in sorted(secrets, key=len, reverse=True):
        said = said.replace(secret, "***")
    return _USER.sub("***@", said)[:QUOTED]


@dataclass
class Delivery:
    """What waits for a tracker, and the tracker once it is open."""

    open_run: Callable[[], Sink]
    waiting: list[Point] = field(default_factory=list)
    sink: Sink | None = None
    held: dict[str, int] = field(default_factory=dict)

    def attempt(self) -> None:
        """Send what waits and the tracker does not hold. Raises what its package raises; then all waits still."""
        if self.sink is None:
            self.sink = self.open_run()
            self.held = dict(self.sink.held)
        new = [point for point in self.waiting if point.step > self.held.get(point.group, -1)]
        if new:
            self.sink.send(new)
        self.held |= {point.group: point.step for point in new}
        self.waiting = []


def serve(
    messages: Iterable[Mapping[str, Any]],
    open_run: Callable[[], Sink],
    failed: Callable[[BaseException], None],
    ending: Callable[[], object],
) -> None:
    """Deliver each message's points; what could not be delivered is tried again with the next, and at the end.

    `ending` is called when messages end. A message with "complete" says that the run is complete.
    """
    delivery, complete = Delivery(open_run), False
    for message in messages:
        complete = complete or bool(message.get("complete"))
        delivery.waiting += _POINTS.validate_python(message.get("points", []))
        _tried(delivery.attempt, failed)
    ending()
    if delivery.waiting or delivery.sink is None:
        _tried(delivery.attempt, failed)
    if (sink := delivery.sink) is not None:
        _tried(lambda: sink.finish(complete=complete), failed)


def _tried(action: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever a tracker's package raises ends no run
        failed(error)


if __name__ == "__main__":
    main()
