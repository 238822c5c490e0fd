"""What the stages of one attempt share."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune_sdk.api import FinetuneRun
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.storage import Store
from finetune_trainer.pipeline.journal import Journal
from finetune_trainer.pipeline.layout import LOGS
from finetune_trainer.pipeline.log import LogTail
from finetune_trainer.pipeline.owner import Fence
from finetune_trainer.pipeline.world import StoppingProgress, World
from finetune_trainer.records import RunRecord
from finetune_trainer.tracking.follow import Tracking

State = Mapping[str, Tensor]
"""Weights by name, on the CPU."""


@dataclass
class Attempt:
    """One start of a run, from owning its output to its end."""

    run: FinetuneRun
    record: RunRecord
    output: Store
    fence: Fence
    journal: Journal
    progress: StoppingProgress
    world: World
    device: torch.device
    log: LogTail
    tracking: Tracking

    @property
    def spec(self) -> FinetuneRunSpec:
        """What is wanted."""
        return self.run.spec

    def saved(self, step: int, uri: str) -> None:
        """Tell who hears of it that a checkpoint is whole. Called from any thread; does not raise."""
        self.world.witness.saved(step, uri)
        self.tracking.saved(step)

    def keep_log(self) -> None:
        """Store the log's tail, so that it outlives the process."""
        self.output.write(f"{LOGS}attempt-{self.journal.progress.attempts}.jsonl", self.log.content())


def copy_state(module: torch.nn.Module) -> State:
    """The module's weights, copied to the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in module.state_dict().items()}
