"""What Linux' control groups, version 1 or 2, say of this container: its processors, and processes ended for memory."""

import math
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
"""Lines `ID:CONTROLLERS:PATH`; version 2 has no controllers there."""


def memory_kills(root: Path = ROOT, own: Path = OWN) -> int:
    """How many processes of this container the kernel has ended for want of memory; 0 where it cannot be known.

    The kernel counts before it kills, so that who has seen a process's end sees it counted.
    """
    lines = _first(
        [*_places(root / "memory", own, "memory.oom_control", "memory"), *_places(root, own, "memory.events")]
    )
    counts = (line.split() for line in lines)
    return sum(int(count[1]) for count in counts if len(count) == 2 and count[0] == "oom_kill" and count[1].isdecimal())


def processors(root: Path = ROOT, own: Path = OWN) -> int | None:
    """How many processors' time this container may use, rounded up; None where nothing limits it."""
    for line in _first(_places(root, own, "cpu.max")):
        quota, _, period = line.partition(" ")
        return _rounded(quota, period)
    names = ("cpu", "cpu,cpuacct", "cpuacct,cpu")
    quota, period = (
        next(iter(_first([place for name in names for place in _places(root / name, own, file, "cpu")])), "")
        for file in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    )
    return _rounded(quota, period)


def _rounded(quota: str, period: str) -> int | None:
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:  # "max", -1
        return None
    return max(1, math.ceil(int(quota) / int(period)))


def _places(folder: Path, own: Path, name: str, controller: str = "") -> list[Path]:
    """Where a file of this process's group may lie: below its path, or where a container sees itself as the root."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    entries = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    paths = [path for _, controllers, path in entries if controller in controllers.split(",")]
    return [*(folder / path.lstrip("/") / name for path in paths), folder / name]


def _first(places: list[Path]) -> list[str]:
    """The lines of the first of these files that can be read; none where there is none."""
    for place in places:
        try:
            return place.read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
    return []
