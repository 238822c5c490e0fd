"""P3: recall from stored embeddings, ours against clip_benchmark's `evaluate(amp=False)` at its default batch of 64.

    OMP_NUM_THREADS=2 python benchmarks/recall.py [--quick]

Both sides normalise the same embeddings and give the same figures, which is asserted first. Peak memory, and the size
of 40,000 x 200,000, which the peer could not hold (32 GB of scores), are measured in processes of their own.
"""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from finetune_trainer.evaluation.recall import retrieval
from finetune_trainer.records import Recalls
from support import TRIALS, alternate, arguments, describe_machine, finish, peak_memory, seconds, spread

WIDTH = 512
CAPTIONS = 5
GOAL = {"k=5": 5.0, "k=1,5,10": 12.0, "peak_gb": 0.8}
"""Times as fast as the peer; gigabytes of the whole process."""


@dataclass(frozen=True)
class Stored:
    """Embeddings as towers leave them, not normalised: (N, D), (N * CAPTIONS, D), and the image of each text."""

    images: Tensor
    texts: Tensor
    owner: NDArray[np.int64]

    def ours(self, ks: Sequence[int]) -> Recalls:
        images, texts = F.normalize(self.images, dim=-1), F.normalize(self.texts, dim=-1)
        return retrieval(images, texts, self.owner, ks).recalls

    def theirs(self, ks: Sequence[int], batch: int = 64) -> Recalls:
        from clip_benchmark.metrics import zeroshot_retrieval  # here: its imports would count as our memory

        n = len(self.images)
        spans = [range(start, min(start + batch, n)) for start in range(0, n, batch)]
        loader = [(torch.tensor(span), [_captions_of(image) for image in span]) for span in spans]
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            metrics: Recalls = zeroshot_retrieval.evaluate(
                self, loader, _indices, "cpu", amp=False, recall_k_list=list(ks)
            )
        return metrics

    def encode_image(self, indices: Tensor) -> Tensor:
        return self.images[indices]

    def encode_text(self, indices: Tensor) -> Tensor:
        return self.texts[indices]


def _captions_of(image: int) -> list[str]:
    return [str(image * CAPTIONS + caption) for caption in range(CAPTIONS)]


def _indices(captions: list[str]) -> Tensor:
    return torch.tensor([int(caption) for caption in captions])


def make(n_images: int) -> Stored:
    torch.manual_seed(0)
    owner = torch.arange(n_images).repeat_interleave(CAPTIONS)
    images = torch.randn(n_images, WIDTH)
    texts = torch.randn(n_images * CAPTIONS, WIDTH).mul_(5)
    for start in range(0, len(texts), 10_000):  # in parts: a second copy would be the peak that is measured
        texts[start : start + 10_000] += images[owner[start : start + 10_000]]
    return Stored(images, texts, owner.numpy())


def alone(n_images: int, ks: Sequence[int]) -> dict[str, float]:
    """Ours in a process of its own: seconds, bytes at its peak, bytes of the embeddings."""
    command = [sys.executable, __file__, "--alone", str(n_images), *map(str, ks)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_alone(n_images: int, ks: Sequence[int]) -> None:
    stored = make(n_images)
    for side in (stored.images, stored.texts):  # in place: as encoding leaves them
        side.div_(side.norm(dim=-1, keepdim=True))
    embeddings = (stored.images.nbytes + stored.texts.nbytes) / 1e9
    taken = seconds(lambda: retrieval(stored.images, stored.texts, stored.owner, ks))
    print(json.dumps({"seconds": round(taken, 2), "peak_gb": peak_memory() / 1e9, "embeddings_gb": embeddings}))


def main() -> None:
    quick = arguments(__doc__ or "").quick
    n_images, trials = (1000, 2) if quick else (5000, TRIALS)
    stored = make(n_images)
    figures: dict[str, object] = {"machine": describe_machine("torch", "clip-benchmark"), "quick": quick}
    figures["size"] = [n_images, n_images * CAPTIONS, WIDTH]
    ratios: dict[str, float] = {}
    equal = True
    for name, ks in (("k=5", [5]), ("k=1,5,10", [1, 5, 10])):
        ours, theirs = stored.ours(ks), stored.theirs(ks)  # the warm-up too
        equal = equal and ours == theirs
        print(f"{name}: ours {ours}\n{name}: peer {theirs}", flush=True)
        mine, peer = alternate(partial(stored.ours, ks), partial(stored.theirs, ks), trials)
        quotients = [slow / fast for fast, slow in zip(mine, peer, strict=True)]
        figures[name] = {"ours_s": spread(mine), "peer_s": spread(peer), "ratio": spread(quotients)}
        ratios[name] = spread(quotients)["median"]
        print(f"{name}: {figures[name]}", flush=True)
    figures["floats_equal"] = equal
    memory = alone(n_images, [1, 5, 10])
    figures["alone"] = memory
    if not quick:
        figures["40k x 200k"] = alone(40_000, [1, 5, 10])
    fast = quick or all(ratios[name] >= GOAL[name] for name in ratios)
    finish("recall", figures, {**GOAL, "floats_equal": True}, fast and equal and memory["peak_gb"] <= GOAL["peak_gb"])


if __name__ == "__main__":
    if "--alone" in sys.argv:
        run_alone(int(sys.argv[2]), [int(k) for k in sys.argv[3:]])
    else:
        main()
