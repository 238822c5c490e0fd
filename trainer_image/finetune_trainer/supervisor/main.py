"""`finetune-trainer`: the entry point of the image."""

import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from finetune_sdk.contract import PORT, RUN_VARIABLE, TERMINATION_PATH, Termination
from finetune_sdk.errors import InvalidSpec
from finetune_sdk.order import OrderedRun, parse_order
from finetune_trainer.supervisor.log import logger
from finetune_trainer.supervisor.process import Supervisor

PORT_VARIABLE = "FINETUNE_PORT"
MESSAGE_VARIABLE = "FINETUNE_TERMINATION_LOG"
"""Both for tests of the image's processes outside of a pod."""
SCRATCH = {
    "HF_HOME": "huggingface",
    "TORCH_HOME": "torch",
    "XDG_CACHE_HOME": "cache",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "MPLCONFIGDIR": "matplotlib",
}
"""Where libraries keep files: below HOME, which is all that may be written."""
USER = "finetune"
"""For libraries that ask who runs them: the pod's user id needs no name in /etc/passwd."""


def main() -> None:
    """The console script."""
    sys.exit(run(os.environ))


def run(env: Mapping[str, str]) -> int:
    """Supervise the trainer that `env` orders; the pod's exit code."""
    try:
        order = _order(env)
    except InvalidSpec as error:
        return _refuse(env, error)
    log = logger(order.run.metadata.name, order.run.metadata.namespace or "")
    supervisor = Supervisor(
        order,
        env=worker_environment(env),
        log=log,
        port=int(env.get(PORT_VARIABLE, PORT)),
        clock=time.monotonic,
        now=lambda: datetime.now(UTC),
    )
    said = supervisor.run(lambda said: _write(env, said))
    return said.exit_code


def worker_environment(env: Mapping[str, str]) -> dict[str, str]:
    """What the worker sees: every cache below HOME, and a name for the user."""
    home = Path(env.get("HOME", "/tmp"))  # noqa: S108 - a pod's HOME is always set; this is for a bare start
    folders = {name: str(home / folder) for name, folder in SCRATCH.items()}
    cache = {"FINETUNE_CACHE": str(home / "cache")}
    return {"USER": USER, "LOGNAME": USER, **folders, **cache, **env}


def _order(env: Mapping[str, str]) -> OrderedRun:
    text = env.get(RUN_VARIABLE)
    if not text:
        raise InvalidSpec(
            f"{RUN_VARIABLE} is not set: this image is started by the operator; use `finetune run` elsewhere"
        )
    return parse_order(text)


def _refuse(env: Mapping[str, str], error: InvalidSpec) -> int:
    said = Termination(reason=error.reason, message=str(error), exit_code=error.exit_code)
    logger("", "").error("ended", reason=said.reason, message=said.message)
    _write(env, said)
    return said.exit_code


def _write(env: Mapping[str, str], said: Termination) -> None:
    path = Path(env.get(MESSAGE_VARIABLE, TERMINATION_PATH))
    try:
        path.write_bytes(said.to_bytes())
    except OSError as error:
        logger("", "").error("termination-message-not-written", path=str(path), error=str(error))


if __name__ == "__main__":
    main()
