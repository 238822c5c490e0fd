"""What tests of training share: made batches as a pure function of the step, and a short run over them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from finetune_sdk.api.training import Training
from finetune_sdk.storage import Store, open_store
from finetune_trainer.checkpoint.saver import Checkpoints
from finetune_trainer.data.batches import Batch
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.progress import Silent
from finetune_trainer.records import Recalls
from finetune_trainer.training.defaults import DeviceTraits, ModelTraits, ResolvedTraining, resolve_training
from finetune_trainer.training.loop import Cadence, Trained, TrainJob, train
from finetune_trainer.training.memory import Fit
from tests.support.models import tiny_model

N_IMAGES = 24
VOCABULARY = 772
"""Divides CLIP's 49,408, so that the end of a text keeps the highest id, by which CLIP finds it."""
CPU = DeviceTraits("cpu")
WHOLE = Fit(8, activation_checkpointing=False)
"""All of `resolved_for`'s batch at once."""


def parts_of(model: ClipModel) -> Any:
    """The module, whose parts nn.Module types as tensors."""
    return model.module


def small_model() -> ClipModel:
    """`tiny_model` with a hundredth of its vocabulary, so that a checkpoint is written in no time."""
    model = tiny_model()
    tokenize, module = model.tokenize, parts_of(model)
    embedding = nn.Embedding(VOCABULARY, module.token_embedding.embedding_dim)
    embedding.load_state_dict({"weight": module.token_embedding.weight[:VOCABULARY]})
    module.token_embedding = embedding
    return replace(model, tokenize=lambda captions: tokenize(captions) % VOCABULARY)


def make_batch(model: ClipModel, step: int, batch_size: int = 8, *, duplicates: bool = False) -> Batch:
    """Noise for images and words; with `duplicates` the first two share an image, the next two a caption."""
    draw = torch.Generator().manual_seed(1000 + step)
    image_ids = torch.randperm(N_IMAGES, generator=draw)[:batch_size]
    caption_ids = image_ids.clone()
    if duplicates:
        image_ids[1], caption_ids[3] = image_ids[0], caption_ids[2]
    height, width = model.preprocess.size
    pictures = torch.randint(
        256, (N_IMAGES, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(7)
    )
    tokens = torch.cat([model.tokenize([f"a {'red' if number % 2 else 'blue'} {number}"]) for number in caption_ids])
    return Batch(step, pictures[image_ids], tokens, image_ids, caption_ids, (step + 1) * batch_size / N_IMAGES)


def assert_same_gradients(
    got: dict[str, Tensor], want: dict[str, Tensor], gap: float = 1e-5, rounding: float = 1e-7
) -> None:
    """Within `gap` of each gradient's norm. Gradients that are 0 by theory (keys' biases) hold rounding noise only."""
    assert got.keys() == want.keys()
    noise = rounding * max(tensor.norm() for tensor in want.values())
    far = {name: float((got[name] - want[name]).norm() / want[name].norm()) for name in want}
    assert not {name: apart for name, apart in far.items() if apart > gap and (got[name] - want[name]).norm() > noise}


@dataclass
class MadeBatches:
    """`make_batch` for every step; `killed_at` raises in place of that step's batch."""

    model: ClipModel
    batch_size: int = 8
    killed_at: int | None = None
    asked: list[int] = field(default_factory=list)

    def iterate(self, first_step: int, last_step: int) -> Iterator[Batch]:
        for step in range(first_step, last_step):
            if step == self.killed_at:
                raise KeyboardInterrupt
            self.asked.append(step)
            yield make_batch(self.model, step, self.batch_size)


def resolved_for(steps: int = 6, batch_size: int = 8, **changes: Any) -> ResolvedTraining:
    """A short training on CPU at a rate that shows."""
    training = Training(steps=steps, batch_size=batch_size)
    traits = ModelTraits(loss="clip", random=True, image_parameters=10_000)
    resolved, _ = resolve_training(training, every=2, n_images=N_IMAGES, model=traits, device=CPU)
    return replace(resolved, **changes)


class Flag:
    """Requested from the start, or once set."""

    def __init__(self, requested: bool = False) -> None:
        self.requested = requested


def score_of(model: ClipModel, _step: int) -> tuple[float, Recalls]:
    """A score that depends on all of the weights, so that it shows whether they are the same."""
    score = float(sum(tensor.float().sum() for tensor in model.module.state_dict().values()))
    return score, {"image_retrieval_recall@1": 0.5}


class Notes(Silent):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps = 0
        self.figures: dict[str, float] = {}

    def note(self, message: str) -> None:
        self.notes.append(message)

    def advance(self, amount: int = 1, **figures: float) -> None:
        self.steps += amount
        self.figures = figures


@dataclass
class Run:
    """A run on a store that may be started again and again."""

    store: Store
    scratch: Path
    make_model: Callable[[], ClipModel] = small_model
    resolved: ResolvedTraining = field(default_factory=resolved_for)
    cadence: Cadence = field(default_factory=lambda: Cadence(None, 1))
    keep: int = 2
    validate: Callable[[ClipModel, int], tuple[float, Recalls]] = score_of
    guard: Callable[[], None] = lambda: None
    progress: Notes = field(default_factory=Notes)
    job: dict[str, Any] = field(default_factory=dict)

    def start(self, *, killed_at: int | None = None, stop: Flag | None = None) -> tuple[Trained, ClipModel]:
        """As a new process would: from the base weights and what the store holds."""
        model = self.make_model()
        batches = MadeBatches(model, self.resolved.batch_size, killed_at)
        job = TrainJob(model, batches, self.resolved, self.validate, self.cadence, **self.job)
        checkpoints = Checkpoints(
            self.store, keep=self.keep, guard=self.guard, scratch=self.scratch, note=self.progress.note
        )
        return train(job, checkpoints, stop=stop or Flag(), progress=self.progress, clock=lambda: 0.0), model


def make_run(folder: Path, **changes: Any) -> Run:
    """A run in a folder of its own."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return Run(open_store((folder / "output").as_uri()), scratch, **changes)
