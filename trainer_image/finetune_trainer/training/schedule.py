"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

import math


def learning_rate(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """The rate of step `step` (from 0): linear up to `peak` at the last step of warmup, then a cosine that ends at 0.

    The cosine reaches 0 one step past the last, so that the last step still counts (as in open_clip_train).
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
