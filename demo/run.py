"""The demo: make the towers, align them on two drawing styles, fine-tune on a third, and say where the report lies.

Each part is the command that a person would type. Stopped at any point, the demo goes on where it was.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "output"
RUNS = {
    "align": "1 of 2: an image tower and a text tower learn from Google's and Twitter's emoji to match",
    "finetune": "2 of 2: the model is fine-tuned on OpenMoji, a style it has not seen",
}


def environment() -> dict[str, str]:
    """A thread a core, waiting asleep, unless the caller says otherwise.

    Threads that wait by spinning take the core from the one they wait for: on a busy machine a factor of ten.
    """
    threads = {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "OMP_WAIT_POLICY": "passive"}
    return {**threads, "TOKENIZERS_PARALLELISM": "false", **os.environ}


def run(*command: str | Path) -> None:
    """A command; its failure is the demo's."""
    done = subprocess.run(command, env=environment(), check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Both runs, each after a line that says what it is."""
    began = time.monotonic()
    if not all((OUTPUT / "towers" / name).exists() for name in ("image", "text")):
        run(sys.executable, HERE / "towers.py", OUTPUT / "towers")
    for name, title in RUNS.items():
        print(f"\n{title}\n", flush=True)
        run(Path(sys.executable).with_name("finetune"), "run", "-f", HERE / f"{name}.yaml")
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"\nDone in {minutes} min {seconds} s. Open {OUTPUT / 'finetune' / 'report.html'} in a browser.")


if __name__ == "__main__":
    main()
