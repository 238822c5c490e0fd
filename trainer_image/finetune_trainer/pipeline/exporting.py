"""The stage `export`: the model in each form asked for, reopened by its own library before anybody relies on it.

The open_clip directory is always made, since reports, `finetune evaluate` and other runs read it; the other forms are
folders in it.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from finetune_sdk.api.output import ExportFormat
from finetune_trainer.data.batches import normalise
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.export import check_export, check_huggingface_export, check_onnx_export
from finetune_trainer.model.huggingface import check_huggingface, write_huggingface
from finetune_trainer.model.onnx import write_onnx
from finetune_trainer.model.save import WEIGHTS, write_model
from finetune_trainer.pipeline.attempt import Attempt
from finetune_trainer.pipeline.layout import MODEL

SAMPLES = 8
"""Pictures and captions that are compared."""
CARD = "README.md"


class Exporter(NamedTuple):
    """One form of the model beside the open_clip directory."""

    write: Callable[[ClipModel, Path], None]
    check: Callable[[Path, ClipModel, Tensor, Tensor], None]


EXPORTERS: Mapping[ExportFormat, Exporter] = {
    "huggingface": Exporter(write_huggingface, check_huggingface_export),
    "onnx": Exporter(write_onnx, check_onnx_export),
}


def check_exports(model: ClipModel, exports: Sequence[ExportFormat]) -> None:
    """Raise InvalidSpec, before anything is measured, for a form that the model does not have."""
    if "huggingface" in exports:
        check_huggingface(model)


def export_stage(attempt: Attempt, model: ClipModel, test: Split, scratch: Path, card: str) -> None:
    """Write, reopen and compare each form of the model, add its `card` (Markdown), then upload all of it.

    Raises:
        TrainerError: a library does not see the same model.
        InvalidSpec: torch cannot express the model as ONNX.
    """
    wanted = [name for name in EXPORTERS if name in attempt.spec.output.exports]
    attempt.progress.start("export", 3 + 2 * len(wanted), "parts")
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        written = Path(folder) / MODEL
        write_model(model, None, written)
        attempt.progress.advance()
        samples = _samples(model, test)
        check_export(written, model, *samples)
        attempt.progress.advance()
        for name in wanted:
            EXPORTERS[name].write(model, written / name)
            attempt.progress.advance()
            EXPORTERS[name].check(written / name, model, *samples)
            attempt.progress.advance()
        (written / CARD).write_text(card, encoding="utf-8")
        attempt.fence.check()
        # The weights come last: a model without them is seen to be incomplete.
        files = [path for path in written.rglob("*") if path.is_file()]
        for path in sorted(files, key=lambda path: (path == written / WEIGHTS, str(path))):
            attempt.output.write_file(f"{MODEL}/{path.relative_to(written).as_posix()}", path)
        attempt.progress.advance()


def _samples(model: ClipModel, test: Split) -> tuple[Tensor, Tensor]:
    """Images (n, 3, H, W) float32, normalised, and tokens (n, T) int64 of the first few of the test set."""
    count = min(SAMPLES, len(test.images))
    pixels = np.stack([test.pixels.evaluation(index) for index in range(count)])
    return normalise(torch.from_numpy(pixels), model.preprocess), model.tokenize(test.captions[:count])
