"""What a container does to a process, as far as this machine lets a test do it: PID 1, a nameless user, limits."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import wait_until

NOBODY = 65_532
"""The image's user, without a name."""
MEMORY_V1, MEMORY_V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
CONFINE = f"""
scratch=$1; shift
mount --bind "$scratch" "$scratch"
mount -o remount,ro,bind /
exec unshare --map-user={NOBODY} --map-group={NOBODY} --pid --fork --kill-child=KILL -- "$@"
"""
JOIN = 'echo $$ > "$0"; exec "$@"'


def confined(command: Sequence[str], scratch: Path) -> list[str]:
    """`command` as PID 1, as a user without a name, on a root that can be read only but for `scratch`.

    As it is where this machine gives no user namespaces.
    """
    prefix = ["unshare", "--map-root-user", "--mount", "--", "sh", "-euc", CONFINE, "sh", str(scratch)]
    probe = [*prefix, "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        return list(command)
    return [*prefix, *command]


def innermost(pid: int) -> int:
    """The process that the one of a confined command started, as this machine numbers it; `pid` where it has none."""
    # The worker is a child too, but of the innermost: each `unshare` has one.
    children = Path(f"/proc/{pid}/task/{pid}/children")
    is_wrapper = Path(f"/proc/{pid}/comm")
    while is_wrapper.exists() and is_wrapper.read_text().strip() in ("unshare", "sh"):
        if found := children.read_text().split():
            return innermost(int(found[0]))
    return pid


@contextmanager
def memory_limit(size: int) -> Iterator[list[str] | None]:
    """A prefix that lets a command run in a control group of `size` bytes; None where none can be made."""
    name = f"finetune-test-{secrets.token_hex(4)}"
    files = {"memory.limit_in_bytes": str(size), "memory.swappiness": "0"}
    group = MEMORY_V1 / name
    if not MEMORY_V1.is_dir():
        files, group = {"memory.max": str(size), "memory.swap.max": "0"}, MEMORY_V2 / name
    try:
        group.mkdir()
        for file, text in files.items():
            (group / file).write_text(text)
    except OSError:
        yield None
        return
    try:
        yield ["sh", "-c", JOIN, str(group / "cgroup.procs")]
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "the control group is empty")
        group.rmdir()
