"""The worker: the pipeline in a process of its own, which may be killed without losing what is to be said of it."""

import errno
import faulthandler
import os
import signal
import traceback
from collections.abc import Mapping
from pathlib import Path

from finetune_sdk.api import reasons
from finetune_sdk.contract import POD_UID_VARIABLE, RUN_VARIABLE
from finetune_sdk.errors import FinetuneError, GateNotMet, TrainerError
from finetune_sdk.heavy import end_process, importing
from finetune_trainer.supervisor.channel import CHANNEL_VARIABLE, Channel
from finetune_trainer.supervisor.credentials import HeardCredentials, credentials_of

_TRACE_LINES = 8
"""Of a traceback's end, in a message; all of it is in the log."""
_TORCH_OUT_OF_MEMORY = "DefaultCPUAllocator: can't allocate memory"


def main() -> int:
    """Carry the order of FINETUNE_RUN out, and say over the channel how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback for a stop before there is anything to save
    faulthandler.enable(all_threads=False)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    descriptor = int(os.environ[CHANNEL_VARIABLE])
    os.set_inheritable(descriptor, False)
    channel = Channel(descriptor)
    channel.alive()
    try:
        return work(os.environ, channel)
    except FinetuneError as error:
        channel.failed(error.reason, str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, status.message says it
        trace = "".join(traceback.format_exception(error))
        channel.failed(*unexpected(error, trace), trace)
        return TrainerError.exit_code


def work(env: Mapping[str, str], channel: Channel) -> int:
    """The pipeline, told to `channel`; its exit code. Raises what ends it before it is complete."""
    with importing():
        from finetune_sdk.order import parse_order
        from finetune_trainer.pipeline.run import run_pipeline
        from finetune_trainer.pipeline.world import World
        from finetune_trainer.supervisor.result import reason_of, result_of

    channel.alive()
    order = parse_order(env[RUN_VARIABLE])
    world = World(
        env=env,
        progress=channel,
        credentials=HeardCredentials(credentials_of(env), channel.alive),
        cache_root=Path(env["FINETUNE_CACHE"]),
        command="the next pod",
        process=env.get(POD_UID_VARIABLE, f"process {os.getpid()}"),
        witness=channel,
        gpus_are_ordered=True,
    )
    finished = run_pipeline(order.run, world)
    result = result_of(finished.outcome, order.run)
    try:
        finished.raise_for_gate()
    except GateNotMet as missed:
        channel.finished(missed.reason, str(missed), result)
        return missed.exit_code
    channel.finished(reason_of(finished.outcome), finished.outcome.sentence, result)
    return 0


def unexpected(error: Exception, trace: str) -> tuple[str, str]:
    """Reason and message of what no part of the trainer has foreseen."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" ({error.filename})" if error.filename else ""
        told = f"the scratch disk is full{where}: raise compute.resources.requests.ephemeral-storage"
        return reasons.EPHEMERAL_STORAGE_EXCEEDED, told
    if isinstance(error, MemoryError) or _TORCH_OUT_OF_MEMORY in str(error):
        return reasons.OUT_OF_MEMORY, f"memory is used up: raise compute.resources.requests.memory ({error})"
    tail = "\n".join(trace.rstrip().splitlines()[-_TRACE_LINES:])
    return TrainerError.reason, f"this is a bug: {type(error).__name__}: {error}\n{tail}"


if __name__ == "__main__":
    end_process(main())
