"""What the trainer meets outside itself, as tests call a command's work without the command."""

from pathlib import Path

from finetune_sdk.api.model import Model
from finetune_sdk.uri import path_to_uri
from finetune_trainer.pipeline.world import World


class Notes:
    """Remembers notes, and lets the rest pass."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        pass

    def advance(self, amount: int = 1, **figures: float) -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)


def a_world(cache: Path, notes: Notes | None = None) -> World:
    """On the CPU, with its cache below `cache`."""
    return World({"FINETUNE_DEVICE": "cpu"}, notes or Notes(), None, cache, "finetune")


def model_in(folder: Path) -> Model:
    """The spec of a model that lies in a folder."""
    return Model.model_validate({"weights": {"uri": path_to_uri(folder)}})
