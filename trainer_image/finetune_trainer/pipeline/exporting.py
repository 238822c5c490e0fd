"""The stage `export`: the model as an open_clip directory, reopened by open_clip before anybody may rely on it."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from finetune_trainer.data.batches import normalise
from finetune_trainer.data.types import Split
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.export import check_export
from finetune_trainer.model.save import write_model
from finetune_trainer.pipeline.attempt import Attempt
from finetune_trainer.pipeline.layout import MODEL

SAMPLES = 8
"""Pictures and captions that are compared, bit by bit."""
WEIGHTS_LAST = ".safetensors"


def export_stage(attempt: Attempt, model: ClipModel, test: Split, scratch: Path) -> None:
    """Write, reopen and compare the model, then upload it.

    Raises:
        TrainerError: open_clip does not see the same model.
    """
    attempt.progress.start("export", 3, "parts")
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        written = Path(folder) / "model"
        write_model(model, None, written)
        attempt.progress.advance()
        count = min(SAMPLES, len(test.images))
        pixels = np.stack([test.pixels.evaluation(index) for index in range(count)])
        images = normalise(torch.from_numpy(pixels), model.preprocess)
        check_export(written, model, images, model.tokenize(test.captions[:count]))
        attempt.progress.advance()
        attempt.fence.check()
        files = (path for path in written.rglob("*") if path.is_file())
        # The weights come last: a model without them is seen to be incomplete.
        for path in sorted(files, key=lambda path: (path.suffix == WEIGHTS_LAST, str(path))):
            attempt.output.write_file(f"{MODEL}/{path.relative_to(written).as_posix()}", path)
        attempt.progress.advance()
