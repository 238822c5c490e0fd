"""What trackers outside call a run, and what they know of it."""

import hashlib

from finetune_trainer.pipeline.attempt import Attempt
from finetune_trainer.tracking.sinks import TrackedRun


def tracked_run(attempt: Attempt) -> TrackedRun:
    """The same for every attempt at a run; another output is another run, also of the same name."""
    run, output = attempt.run.metadata, attempt.output.uri
    digest = hashlib.sha256(f"{run.uid or run.name}\n{output}".encode()).hexdigest()
    config = {"run": run.name, "output": output, **attempt.record.resolved}
    return TrackedRun(key=f"finetune-{digest[:16]}", name=run.name, config=config)
