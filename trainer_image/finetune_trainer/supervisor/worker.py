"""The worker: the pipeline in a process of its own, which may be killed without losing what is to be said of it."""

import errno
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from finetune_sdk.contract import CREDENTIALS_FOLDER, POD_UID_VARIABLE, RUN_VARIABLE
from finetune_sdk.errors import FinetuneError, TrainerError
from finetune_trainer.supervisor.channel import CHANNEL_VARIABLE, Channel

CREDENTIALS_VARIABLE = "FINETUNE_CREDENTIALS"
"""Another folder than the pod's, for tests of the image's processes outside of a pod."""
_TRACE_LINES = 8
"""Of a traceback's end, in a message; all of it is in the log."""


def main() -> int:
    """Carry the order of FINETUNE_RUN out, and say over the channel how it ended."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    channel = Channel(int(os.environ[CHANNEL_VARIABLE]))
    try:
        work(os.environ, channel)
    except FinetuneError as error:
        channel.failed(error.reason, str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, status.message says it
        trace = "".join(traceback.format_exception(error))
        channel.failed(*_bug(error, trace), trace)
        return TrainerError.exit_code
    return 0


def work(env: Mapping[str, str], channel: Channel) -> None:
    """The pipeline, told to `channel`; raises what ends it."""
    from finetune_sdk.order import parse_order
    from finetune_sdk.storage import CredentialsDirectory, credentials_from_environment
    from finetune_trainer.pipeline.run import run_pipeline
    from finetune_trainer.pipeline.world import World
    from finetune_trainer.supervisor.result import reason_of, result_of

    order = parse_order(env[RUN_VARIABLE])
    folder = Path(env.get(CREDENTIALS_VARIABLE, CREDENTIALS_FOLDER))
    world = World(
        env=env,
        progress=channel,
        credentials=CredentialsDirectory(folder) if folder.is_dir() else credentials_from_environment(env),
        cache_root=Path(env["FINETUNE_CACHE"]),
        command="the next pod",
        process=env.get(POD_UID_VARIABLE, f"process {os.getpid()}"),
        witness=channel,
        gpus_are_ordered=True,
    )
    finished = run_pipeline(order.run, world)
    channel.finished(reason_of(finished.outcome), finished.outcome.sentence, result_of(finished.outcome, order.run))
    finished.raise_for_gate()


def _bug(error: Exception, trace: str) -> tuple[str, str]:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" ({error.filename})" if error.filename else ""
        return (
            "EphemeralStorageExceeded",
            f"the scratch disk is full{where}: raise compute.resources.requests.ephemeral-storage",
        )
    tail = "\n".join(trace.rstrip().splitlines()[-_TRACE_LINES:])
    return TrainerError.reason, f"this is a bug: {type(error).__name__}: {error}\n{tail}"


if __name__ == "__main__":
    sys.exit(main())
