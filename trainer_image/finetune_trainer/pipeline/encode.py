"""Pictures or texts to vectors, by the evaluation's own encoder; pictures are read and decoded ahead of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import Compose

from finetune_sdk.api.data import MAX_BAD_FRACTION, DataSource
from finetune_sdk.api.model import Model
from finetune_sdk.errors import DataInvalid, WeightsInvalid
from finetune_trainer.data.ahead import ahead
from finetune_trainer.data.bare import Text, open_pictures, read_texts
from finetune_trainer.data.captions import count_cut
from finetune_trainer.data.decode import decode, quiet_pillow
from finetune_trainer.data.index import MOST_LISTED, default_workers, too_many_bad
from finetune_trainer.data.pixels import check_shape, evaluation_transform
from finetune_trainer.data.readers import Rows
from finetune_trainer.data.types import BadRow, Row
from finetune_trainer.evaluation.encode import BATCH, encode_pixels, encode_tokens
from finetune_trainer.model.clip import ClipModel, Preprocess
from finetune_trainer.model.load import load_model
from finetune_trainer.pipeline.evaluate import ready_device
from finetune_trainer.pipeline.hardware import device_memory
from finetune_trainer.pipeline.vectors import Vectors, origin_of
from finetune_trainer.pipeline.world import World
from finetune_trainer.progress import Progress
from finetune_trainer.records import Problem
from finetune_trainer.report.text import count

TEXTS = 256
"""In a batch."""


@dataclass
class Judged:
    """What was read, and what of it cannot be used."""

    called: str
    """What the user calls the source."""
    total: int | None
    """How much there is to read, where that is known."""
    ids: list[str] = field(default_factory=list)
    """Of what can be used, in order."""
    problems: list[Problem] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def bad(self) -> int:
        return sum(self.kinds.values())

    @property
    def read(self) -> int:
        return len(self.ids) + self.bad

    def refuse(self, where: str, bad: BadRow) -> None:
        """Count one. Raises DataInvalid once there are more than may be left out, whatever is still to come."""
        self.kinds[bad.kind] += 1
        if len(self.problems) < MOST_LISTED:
            self.problems.append(Problem(kind=bad.kind, where=where, detail=bad.detail))
        if self.total is not None:
            self.check(self.total)

    def check(self, total: int) -> None:
        """Raises DataInvalid where too many of `total` are bad."""
        if self.bad > MAX_BAD_FRACTION * total:
            allowed = f"the {MAX_BAD_FRACTION:.0%} that is left out"
            raise too_many_bad(self.called, self.read, self.problems, self.kinds, allowed)

    def notes(self) -> list[str]:
        """What the user should know of what was left out: all that is kept of it, a line each."""
        if not self.bad:
            return []
        named = [f"{problem.where}: {problem.kind}: {problem.detail}" for problem in self.problems]
        return [f"{self.bad} of {self.read} are left out", *named]


@device_memory()
def encode_source(model: Model, source: DataSource, shown: str, field_name: str, world: World) -> Vectors:
    """The vectors of a source's pictures. `shown`: the source as its user wrote it, as `open_pictures` takes it.

    Raises FinetuneError: DataInvalid for a source without pictures, or with more broken ones than may be left out.
    """
    rows = open_pictures(field_name, source, shown, world.open)
    for note in rows.notes:
        world.progress.note(note)
    loaded, device = open_model(model, world)
    return encode_pictures(loaded, rows, field_name, device=device, progress=world.progress)


@device_memory()
def encode_text_file(model: Model, uri: str, column: str | None, field_name: str, world: World) -> Vectors:
    """The vectors of a text file's lines, or of a table's column. Raises FinetuneError, as `encode_source` does."""
    texts = read_texts(field_name, uri, column, world.open)
    loaded, device = open_model(model, world)
    return encode_lines(loaded, texts, field_name, device=device, progress=world.progress)


def open_model(model: Model, world: World) -> tuple[ClipModel, torch.device]:
    """The model, on the device that is returned with it."""
    device = ready_device(world)
    return load_model(model, stores=world.open, cache_root=world.cache_root, device=device, seed=0), device


def encode_pictures(
    model: ClipModel, rows: Rows, field_name: str, *, device: torch.device, progress: Progress
) -> Vectors:
    """A vector for each row's picture, in order; equal pictures keep a row each. What was left out is noted."""
    judged = Judged(field_name, rows.total)
    progress.start("encode", rows.total, "images")
    with quiet_pillow():
        made = encode_pixels(
            model, _batches(model.preprocess, rows, judged, progress), device=device, progress=progress
        )
    empty = rows.where.explain() if rows.where.wanted else "it holds no pictures"
    return _vectors(model, "pictures", judged, made, empty, progress)


def encode_lines(
    model: ClipModel, texts: Iterable[Text], field_name: str, *, device: torch.device, progress: Progress
) -> Vectors:
    """A vector for each text, in order. What was left out is noted, and how many the tokenizer cut."""
    judged = Judged(field_name, None)
    for one in texts:
        if isinstance(one.text, BadRow):
            judged.refuse(one.where, one.text)
        else:
            judged.ids.append(one.text)
    judged.check(judged.read)
    progress.start("encode", len(judged.ids), "texts")
    cut = 0

    def batches() -> Iterator[Tensor]:
        nonlocal cut
        for start in range(0, len(judged.ids), TEXTS):
            some = judged.ids[start : start + TEXTS]
            tokens = model.tokenize(some)
            cut += count_cut(some, tokens, model.tokenize, model.context_length)
            yield tokens

    made = encode_tokens(model, batches(), device=device, progress=progress)
    if cut:
        progress.note(f"{count(cut, 'text')} longer than the model's {model.context_length} tokens, and cut there")
    return _vectors(model, "texts", judged, made, "it holds no texts", progress)


def _vectors(
    model: ClipModel, kind: Literal["pictures", "texts"], judged: Judged, made: Tensor, empty: str, progress: Progress
) -> Vectors:
    if not judged.read:
        raise DataInvalid(f"{judged.called}: {empty}")
    judged.check(judged.read)
    for note in judged.notes():
        progress.note(note)
    if not bool(made.isfinite().all()):
        raise WeightsInvalid("the model gives vectors that hold NaN or infinity: its weights are damaged, use others")
    return Vectors(origin_of(model, kind), judged.ids, made.numpy())


def _batches(preprocess: Preprocess, rows: Rows, judged: Judged, progress: Progress) -> Iterator[Tensor]:
    """(n, H, W, 3) uint8 of the usable pictures; two batches are read and decoded ahead."""
    look = _reader(preprocess)
    held: list[NDArray[np.uint8]] = []
    for row, pixels in ahead(look, rows.read(), default_workers(), waiting=2 * BATCH):
        if isinstance(pixels, BadRow):
            judged.refuse(row.where, pixels)
            progress.advance()
            continue
        judged.ids.append(row.name.encode("utf-8", "replace").decode())
        held.append(pixels)
        if len(held) == BATCH:
            yield torch.from_numpy(np.stack(held))
            held = []
    if held:
        yield torch.from_numpy(np.stack(held))


def _reader(preprocess: Preprocess) -> Callable[[Row], tuple[Row, NDArray[np.uint8] | BadRow]]:
    """Reads and decodes one picture to (H, W, 3), as the evaluation's cache holds it; for threads."""
    transform: Compose = evaluation_transform(preprocess)

    def look(row: Row) -> tuple[Row, NDArray[np.uint8] | BadRow]:
        try:
            rgb, _ = decode(row.load())
            check_shape(rgb.height, rgb.width, preprocess)
        except BadRow as bad:
            return row, bad
        return row, np.asarray(transform(rgb))

    return look
