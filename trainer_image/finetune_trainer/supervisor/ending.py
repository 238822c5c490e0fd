"""How a worker ended, as the termination message says it. Pure."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from finetune_sdk import errors
from finetune_sdk.api import reasons
from finetune_sdk.contract import Termination
from finetune_trainer.supervisor.board import Board, Said

SUCCEEDED = "Succeeded"
BUG = errors.TrainerError.exit_code
INTERRUPTED = 130
"""128 + SIGINT: a second Ctrl-C."""
CRASH = "Fatal Python error"
"""How faulthandler's report of a crash begins."""
WORDS = 12
"""Lines of a worker's output that a message repeats."""
_CODES = {
    error.reason: error.exit_code
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.FinetuneError) and error is not errors.FinetuneError
} | {SUCCEEDED: 0, reasons.NO_GAIN: 0}


@dataclass(frozen=True)
class Exit:
    """The worker's wait status, and what the supervisor knows of it."""

    code: int | None = None
    """None where a signal ended it, or where it was never started."""
    signal: int | None = None
    stopped_by: str = ""
    """SIGTERM or SIGINT, where one came; empty otherwise."""
    hung_seconds: float | None = None
    """The supervisor ended it for want of progress within this time."""
    late_seconds: float | None = None
    """The supervisor ended it because it had not saved within this time after SIGTERM."""
    out_of_memory: bool = False
    """The kernel ended a process of this container for want of memory."""
    output: Sequence[str] = ()
    """The last lines that it wrote."""


def termination(ended: Exit, board: Board) -> Termination:
    """What the pod says of itself; its exit code is the pod's."""
    said, step = board.said, board.step
    result = said.result if said is not None else None
    if said is None or (ended.out_of_memory and said.reason == errors.TrainerError.reason):
        checkpoint = board.checkpoint
        said, code = _unsaid(ended, checkpoint.step if checkpoint is not None else None)
    else:
        code = _CODES.get(said.reason, BUG)
    return Termination(reason=said.reason, message=said.message, exit_code=code, step=step, result=result)


def _unsaid(ended: Exit, saved: int | None) -> tuple[Said, int]:
    """What is to be said of a worker that could say nothing itself, and the pod's exit code."""
    if ended.hung_seconds is not None:
        told = "every thread's stack is in the log; lifecycle.progressDeadlineSeconds allows more"
        message = f"no progress for {ended.hung_seconds:g} s: {told}"
        return Said(reasons.HUNG, message, None), errors.Hung.exit_code
    if ended.out_of_memory:
        message = "the kernel ended the trainer at its limit of memory: raise compute.resources.requests.memory"
        return Said(reasons.OUT_OF_MEMORY, message, None), BUG
    if ended.stopped_by:
        return _stopped(ended, saved)
    if ended.signal == signal.SIGBUS:
        message = "shared memory is full: raise compute.sharedMemory"
        return Said(reasons.SHARED_MEMORY_EXHAUSTED, message, None), BUG
    return Said(errors.TrainerError.reason, f"{_how(ended)}{_last_words(ended.output)}", None), BUG


def _stopped(ended: Exit, saved: int | None) -> tuple[Said, int]:
    goes_on = "starts anew" if saved is None else f"goes on from step {saved}"
    if ended.late_seconds is not None:
        why = f"and saving took more than the {ended.late_seconds:g} s that the grace period leaves"
        message = f"stopped by {ended.stopped_by}, {why}: the next start {goes_on}"
        return Said(errors.Stopped.reason, message, None), errors.Stopped.exit_code
    if ended.code == INTERRUPTED:
        message = f"ended at once by a second SIGINT: the next start {goes_on}"
        return Said(errors.Stopped.reason, message, None), INTERRUPTED
    asked = ended.signal in (None, signal.SIGTERM, signal.SIGINT) and ended.code in (None, errors.Stopped.exit_code)
    if asked:
        message = f"stopped by {ended.stopped_by} before there was anything to save"
        return Said(errors.Stopped.reason, message, None), errors.Stopped.exit_code
    message = f"{_how(ended)} after {ended.stopped_by}{_last_words(ended.output)}"
    return Said(errors.TrainerError.reason, message, None), BUG


def _how(ended: Exit) -> str:
    if ended.signal is None:
        return f"the trainer's process ended with exit code {ended.code} and did not say why"
    name = next((known.name for known in signal.Signals if known == ended.signal), f"signal {ended.signal}")
    beyond = ", not for its container's limit of memory" if ended.signal == signal.SIGKILL else ""
    return f"the trainer's process was ended by {name}{beyond}"


def _last_words(output: Sequence[str]) -> str:
    """The crash's own report where there is one, else the end of what was written."""
    crash = next((index for index, line in enumerate(output) if line.startswith(CRASH)), None)
    lines = output[-WORDS:] if crash is None else output[crash : crash + WORDS]
    words = "\n".join(line for line in lines if line.strip())
    return f"; its last words:\n{words}" if words else ""
