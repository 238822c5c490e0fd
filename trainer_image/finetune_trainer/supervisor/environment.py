"""What the worker's process finds in its environment beside what the pod gives it."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

SCRATCH = {
    "FINETUNE_CACHE": "cache",
    "HF_HOME": "huggingface",
    "TORCH_HOME": "torch",
    "XDG_CACHE_HOME": "cache",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "MPLCONFIGDIR": "matplotlib",
}
"""Where libraries keep files: below HOME, which is all that may be written."""
USER = "finetune"
"""For libraries that ask who runs them: the pod's user id needs no name in /etc/passwd."""
THREADS = "OMP_NUM_THREADS"


def worker_environment(env: Mapping[str, str], processors: int | None) -> dict[str, str]:
    """`env` with a name for the user, a HOME that can be written with every cache below, threads as processors.

    `processors`: what the container may use; None: all that the machine has. What `env` says itself stays, but for a
    HOME that cannot be written: container runtimes set `/` for a user id without a name.
    """
    home = env.get("HOME", "")
    if not home or not os.access(home, os.W_OK):
        home = env.get("TMPDIR") or tempfile.gettempdir()
    folders = {name: str(Path(home) / folder) for name, folder in SCRATCH.items()}
    # Threads that spin for time that they do not get cost a factor of ten.
    threads = {} if processors is None else {THREADS: str(processors)}
    return {"USER": USER, "LOGNAME": USER, **folders, **threads, **env, "HOME": home}
