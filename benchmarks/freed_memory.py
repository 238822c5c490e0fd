"""How much faster an image tower runs on a CPU where freed memory is kept, as every run does (`keep_freed_memory`).

    OMP_NUM_THREADS=2 python benchmarks/freed_memory.py [--quick]

EfficientNet-Lite0 with random weights, 64 pictures of 128 px at once, each side in processes of its own, in turn.
"""

import statistics
import subprocess
import sys
import time

from support import TRIALS, arguments, describe_machine, finish, spread

GOAL = 1.2
"""How many times faster it has to be to be worth the memory that it keeps."""
PICTURES, SIDE = 64, 128


def passes(keep: bool, count: int) -> float:
    """Seconds of one pass of the tower, the mean of `count` after a first one."""
    import timm
    import torch

    from finetune_trainer.pipeline.hardware import CPU, keep_freed_memory

    if keep:
        keep_freed_memory(CPU)
    tower = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    pictures = torch.zeros(PICTURES, 3, SIDE, SIDE)
    with torch.inference_mode():
        tower(pictures)
        start = time.perf_counter()
        for _ in range(count):
            tower(pictures)
    return (time.perf_counter() - start) / count


def in_a_process(side: str, count: int) -> float:
    """`passes` in a fresh process: what an allocator was told cannot be taken back."""
    done = subprocess.run([sys.executable, __file__, side, str(count)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    quick = arguments(__doc__ or "").quick
    trials, count = (2, 2) if quick else (TRIALS, 10)
    pairs = [(in_a_process("keep", count), in_a_process("default", count)) for _ in range(trials)]
    ratios = [default / kept for kept, default in pairs]
    figures = {
        "machine": describe_machine("torch", "timm"),
        "quick": quick,
        "kept_s": spread([kept for kept, _ in pairs]),
        "default_s": spread([default for _, default in pairs]),
        "ratio": spread(ratios),
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    finish("freed_memory", figures, {"ratio": GOAL}, quick or statistics.median(ratios) >= GOAL)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("keep", "default"):
        print(passes(sys.argv[1] == "keep", int(sys.argv[2])))
    else:
        main()
