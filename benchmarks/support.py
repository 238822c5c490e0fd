"""What every benchmark shares: --quick, the machine in words, alternating trials, and one JSON object as last line."""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

Work = Callable[[], object]
TRIALS = 5
"""Of each side, in turn: A B A B ..."""


def arguments(description: str) -> argparse.Namespace:
    """The command line of a benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a small size and few trials: does it run, not how fast")
    return parser.parse_args()


def describe_machine(*packages: str) -> dict[str, Any]:
    """Processor, cores and threads that figures hold for, with the versions of `packages`."""
    models = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def seconds(work: Work) -> float:
    """How long one call of `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cpu_ms(work: Work, repeats: int) -> float:
    """Milliseconds of CPU a call, of so many after a first one."""
    work()
    begun = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - begun) / repeats * 1e3


def alternate(
    first: Callable[[], object], second: Callable[[], object], trials: int
) -> tuple[list[float], list[float]]:
    """Seconds of each trial of both, run in turn so that a slow spell of the machine meets both."""
    pairs = [(seconds(first), seconds(second)) for _ in range(trials)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "most": round(max(values), 4),
    }


def peak_memory() -> int:
    """The most bytes that this process has held so far.

    Linux's own record is taken where there is one: getrusage counts what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def finish(name: str, figures: dict[str, Any], goal: dict[str, Any], met: bool) -> None:
    """Print the last line: one JSON object."""
    print(json.dumps({"name": name, "figures": figures, "goal": goal, "met": met}))


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
