"""Leave the log of a worker that could not do so itself in the run's output: it outlives the pod there.

A process of its own, which the supervisor ends in time: storage may be what hung, and PID 1 stays small.
"""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from finetune_sdk.contract import POD_UID_VARIABLE, RUN_VARIABLE, Termination
from finetune_sdk.errors import FinetuneError
from finetune_sdk.order import parse_order
from finetune_sdk.storage import Store, open_store
from finetune_trainer.pipeline.documents import read_document, write_document
from finetune_trainer.pipeline.journal import Failure, RunProgress
from finetune_trainer.pipeline.layout import LOGS, OWNER, PROGRESS
from finetune_trainer.pipeline.owner import Owner
from finetune_trainer.supervisor.credentials import credentials_of


def keep(output: Store, process: str | None, log: bytes, now: datetime) -> None:
    """Store `log`, whose last line says how it ended, as that of the attempt of `process`, and why it ended.

    Nothing is written where `process` does not own the output, or began nothing there.
    """
    owner = read_document(output, OWNER, Owner)
    progress = read_document(output, PROGRESS, RunProgress)
    if owner is None or progress is None or owner.process != process:
        return
    output.write(f"{LOGS}attempt-{progress.attempts}.jsonl", log)
    said = Termination.parse(log.decode("utf-8", "replace"))
    if said is not None:
        failure = Failure(reason=said.reason, message=said.message, exit_code=said.exit_code, at=now)
        write_document(output, PROGRESS, progress.model_copy(update={"failure": failure, "updated_at": now}))


def main(env: Mapping[str, str]) -> int:
    """The log comes on stdin."""
    try:
        order = parse_order(env[RUN_VARIABLE])
        output = open_store(order.run.spec.output.uri, credentials_of(env))
        keep(output, env.get(POD_UID_VARIABLE), sys.stdin.buffer.read(), datetime.now(UTC))
    except FinetuneError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
