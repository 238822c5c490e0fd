"""From the pod's environment to its exit code."""

import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from finetune_sdk.contract import PORT, RUN_VARIABLE, TERMINATION_PATH, Termination
from finetune_sdk.errors import InvalidSpec, TrainerError
from finetune_sdk.order import OrderedRun, parse_order
from finetune_trainer.supervisor.board import Board
from finetune_trainer.supervisor.child import Child
from finetune_trainer.supervisor.log import Log, Tail, logger
from finetune_trainer.supervisor.process import Supervisor
from finetune_trainer.supervisor.signals import Signals

PORT_VARIABLE = "FINETUNE_PORT"
MESSAGE_VARIABLE = "FINETUNE_TERMINATION_LOG"
"""Both for tests of the image's processes outside of a pod."""
KEEPER = "finetune_trainer.supervisor.keep"
KEEP_SECONDS = 20.0
"""For the log's way into storage."""


def supervise(env: Mapping[str, str], signals: Signals, child: Child, kills: int) -> int:
    """Supervise the worker that was started to carry out what `env` orders; the pod's exit code.

    `kills`: `memory_kills()` when it was started.
    """
    try:
        order = _order(env)
    except InvalidSpec as error:
        child.kill()
        said = Termination(reason=error.reason, message=str(error), exit_code=error.exit_code)
        log = logger("", "")
        _writer(env, log)(said)
        log.error("ended", **said.to_document())
        return said.exit_code
    return _watch(order, env, signals, child, kills).exit_code


def _watch(order: OrderedRun, env: Mapping[str, str], signals: Signals, child: Child, kills: int) -> Termination:
    spec, metadata = order.run.spec, order.run.metadata
    board = Board(order.uid, time.monotonic, lambda: datetime.now(UTC))
    tail = Tail()
    log = logger(metadata.name, metadata.namespace or "", lambda: board.step, tail)
    write = _writer(env, log)
    supervisor = Supervisor(
        board,
        child,
        kills=kills,
        signals=signals,
        log=log,
        port=_port(env),
        deadline=spec.lifecycle.progress_deadline_seconds,
        grace=spec.compute.termination_grace_period_seconds,
        clock=time.monotonic,
    )
    try:
        return supervisor.run(write, lambda: _keep(env, tail, log))
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, the pod says a sentence
        message = f"this is a bug of the supervisor's: {type(error).__name__}: {error}"
        said = Termination(reason=TrainerError.reason, message=message, exit_code=TrainerError.exit_code)
        child.kill()
        write(said)
        log.error("ended", trace=traceback.format_exc(), **said.to_document())
        return said


def _keep(env: Mapping[str, str], tail: Tail, log: Log) -> None:
    """Leave the log in storage, or let it be: what is to be said of the end is said already."""
    command = [sys.executable, "-m", KEEPER]
    try:
        done = subprocess.run(
            command, input=tail.content(), env=env, capture_output=True, timeout=KEEP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        log.warning("log-not-kept", error=f"storage took more than {KEEP_SECONDS:g} s")
        return
    if done.returncode:
        log.warning("log-not-kept", error=done.stderr.decode("utf-8", "replace").strip())


def _order(env: Mapping[str, str]) -> OrderedRun:
    text = env.get(RUN_VARIABLE)
    if not text:
        raise InvalidSpec(
            f"{RUN_VARIABLE} is not set: this image is started by the operator; use `finetune run` elsewhere"
        )
    return parse_order(text)


def _port(env: Mapping[str, str]) -> int:
    """The contract's, or another; what a Service of the name `finetune` puts there (tcp://...) is no port."""
    asked = env.get(PORT_VARIABLE, "")
    return int(asked) if asked.isdecimal() else PORT


def _writer(env: Mapping[str, str], log: Log) -> Callable[[Termination], None]:
    """Writes the termination message, whole in one write; where there is no place for it, training does not care."""
    named = env.get(MESSAGE_VARIABLE)
    path = Path(named or TERMINATION_PATH)

    def write(said: Termination) -> None:
        try:
            # The kubelet makes the file; elsewhere none is to be left in /dev.
            with path.open("wb" if named else "r+b", buffering=0) as file:
                file.truncate()
                file.write(said.to_bytes())
        except OSError as error:
            log.warning("termination-message-not-written", path=str(path), error=error.strerror or str(error))

    return write
