"""How a worker ended, as the termination message says it."""

import signal
from dataclasses import dataclass
from pathlib import Path

from finetune_sdk import errors
from finetune_sdk.api import reasons
from finetune_sdk.contract import Termination
from finetune_trainer.supervisor.board import Board

SUCCEEDED = "Succeeded"
BUG = errors.TrainerError.exit_code
_OOM_FILES = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Version 2 and 1 of Linux' control groups; both hold a line `oom_kill N`."""
_CODES = {
    error.reason: error.exit_code
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.FinetuneError) and error is not errors.FinetuneError
}


@dataclass(frozen=True)
class Exit:
    """The worker's wait status, and what the supervisor did to it."""

    code: int | None
    """None where a signal ended it."""
    signal: int | None
    stopped: bool
    """SIGTERM or SIGINT was passed on."""
    hung_seconds: int | None
    """The supervisor ended it for want of progress within this time."""
    out_of_memory: bool
    """The kernel ended a process of this container for want of memory."""


def termination(ended: Exit, board: Board) -> Termination:
    """What the pod says of itself; its exit code is the pod's."""
    step = board.step
    result = board.finished[2] if board.finished is not None else None
    if board.failed is not None:
        reason, message = board.failed
        code = _CODES.get(reason, BUG)
        return Termination(reason=reason, message=message, exit_code=code, step=step, result=result)
    if ended.code == 0 and board.finished is not None:
        reason, message, _ = board.finished
        return Termination(reason=reason, message=message, exit_code=0, step=step, result=result)
    reason, message, code = _unsaid(ended)
    return Termination(reason=reason, message=message, exit_code=code, step=step, result=result)


def _unsaid(ended: Exit) -> tuple[str, str, int]:
    """Reason, message and code of a worker that could say nothing itself."""
    if ended.hung_seconds is not None:
        told = "every thread's stack is in the log; lifecycle.progressDeadlineSeconds allows more"
        return reasons.HUNG, f"no progress for {ended.hung_seconds} s: {told}", errors.Hung.exit_code
    if ended.stopped and (ended.signal in (signal.SIGTERM, signal.SIGINT) or ended.code == errors.Stopped.exit_code):
        return errors.Stopped.reason, "stopped before anything was to be saved", errors.Stopped.exit_code
    if ended.out_of_memory:
        return reasons.OUT_OF_MEMORY, "the kernel ended the trainer at its limit of memory", BUG
    if ended.signal == signal.SIGBUS:
        return reasons.SHARED_MEMORY_EXHAUSTED, "shared memory is full: raise compute.sharedMemory", BUG
    if ended.signal is not None:
        name = signal.Signals(ended.signal).name
        return errors.TrainerError.reason, f"the trainer's process was ended by {name}", BUG
    return (
        errors.TrainerError.reason,
        f"the trainer's process ended with exit code {ended.code} and did not say why",
        BUG,
    )


def memory_kills() -> int:
    """How many processes of this container the kernel has ended for want of memory; 0 where it cannot be known."""
    for path in _OOM_FILES:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
