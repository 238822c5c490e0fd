"""Which pictures show what a sentence says: by the vectors of both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune_sdk.api.data import DataSource
from finetune_sdk.api.model import Model
from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.bare import Text, open_pictures
from finetune_trainer.data.readers import SEARCHED
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.identity import config_digest
from finetune_trainer.pipeline.encode import encode_lines, encode_pictures, open_model
from finetune_trainer.pipeline.hardware import device_memory
from finetune_trainer.pipeline.vectors import AGAIN, ENDINGS, Vectors, read_vectors
from finetune_trainer.pipeline.world import World


@dataclass(frozen=True)
class Match:
    """A picture, and how near it is."""

    id: str
    """Its path, as its vector is named."""
    similarity: float
    """The cosine, from -1 to 1."""


@device_memory()
def search(model: Model, source: DataSource, shown: str, sentence: str, top: int, world: World) -> list[Match]:
    """The `top` pictures nearest to `sentence`, best first; all where there are fewer. Equally near ones keep order.

    `source`: pictures, as `open_pictures` takes them with `shown`, or a file that `write_vectors` wrote. Raises
    FinetuneError: DataInvalid also for vectors of another model, or of texts.
    """
    are_vectors = source.uri.lower().endswith(ENDINGS)
    found = (
        read_vectors(SEARCHED, source.uri, world.open)
        if are_vectors
        else open_pictures(SEARCHED, source, shown, world.open)
    )
    loaded, device = open_model(model, world)
    if isinstance(found, Vectors):
        check_made_by(loaded, found, shown)
    asked = encode_lines(
        loaded, [Text("SENTENCE", " ".join(sentence.split()))], "SENTENCE", device=device, progress=world.progress
    )
    if not isinstance(found, Vectors):
        found = encode_pictures(loaded, found, SEARCHED, device=device, progress=world.progress)
    return nearest(found, asked.rows[0], top)


def check_made_by(model: ClipModel, vectors: Vectors, shown: str) -> None:
    """Raises DataInvalid for vectors of texts, or of another model's: to this one they mean nothing."""
    origin = vectors.origin
    if origin.kind != "pictures":
        raise DataInvalid(f"WHERE: {shown} holds vectors of {origin.kind}, not of pictures: encode the pictures")
    if origin.weights_digest != model.digest:
        raise DataInvalid(
            f"WHERE: {shown} was made by another model, {origin.model} ({origin.pretrained}), "
            f"{vectors.rows.shape[1]} numbers each, not by {model.name} ({model.source}): "
            f"give the former as --model, or {AGAIN}"
        )
    if origin.config_digest not in (None, config_digest(model)):
        raise DataInvalid(
            f"WHERE: {shown} was made by another model, {origin.model} ({origin.pretrained}): {model.name} "
            f"({model.source}) has its weights, but another architecture, preprocessing or tokenizer: "
            f"give the former as --model, or {AGAIN}"
        )


def nearest(vectors: Vectors, query: NDArray[np.float32], top: int) -> list[Match]:
    """The `top` rows with the largest product with `query` (D,), best first. Raises DataInvalid for another width."""
    if vectors.rows.shape[1:] != query.shape:
        raise DataInvalid(f"WHERE: its vectors hold {vectors.rows.shape[1]} numbers, the model's {len(query)}: {AGAIN}")
    scores = vectors.rows @ query
    best = np.argsort(-scores, kind="stable")[:top]
    return [Match(vectors.ids[index], float(scores[index])) for index in best]
