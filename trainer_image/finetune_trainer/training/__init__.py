"""Training: resolved values, the step, and the loop around it."""
