"""spec.model: what is fine-tuned."""

from typing import Annotated

from pydantic import Field

from finetune_sdk.api.types import WHOLE, HubName, PublishedName, SpecModel, Uri


class RandomWeights(SpecModel):
    """Weights drawn at random from the seed; holds nothing."""


class Weights(SpecModel):
    """Where the weights come from: exactly one of tag, uri and random."""

    tag: PublishedName | None = None
    """Weights that open_clip publishes for the architecture, such as openai or laion2b_s34b_b79k."""
    uri: Uri | None = None
    """An open_clip directory, a safetensors file or a checkpoint in storage; or the model of another run."""
    random: RandomWeights | None = None
    """Write {} to begin from random weights."""


class ImageTower(SpecModel):
    """An image encoder of timm's."""

    timm: PublishedName
    """The model's name in timm, such as tf_efficientnet_lite0."""
    uri: Uri | None = None
    """Its weights in storage. Absent: those that timm publishes under the name."""


class TextTower(SpecModel):
    """A text encoder of Hugging Face's."""

    huggingface: HubName
    """The model's name on the hub, such as sentence-transformers/all-MiniLM-L6-v2."""
    uri: Uri | None = None
    """A folder in storage with its configuration, tokenizer and weights. Absent: those on the hub."""


class Towers(SpecModel):
    """A model composed of two encoders with a new projection each."""

    image: ImageTower
    """The encoder of pictures."""
    text: TextTower
    """The encoder of captions."""
    embed_dim: Annotated[int, Field(ge=1, le=65536), WHOLE] = 512
    """Width of the shared embedding space."""


class Model(SpecModel):
    """The model: name and weights, or towers in place of both."""

    name: PublishedName | None = None
    """Any open_clip architecture. Optional where weights.uri holds its own configuration, with which it must agree."""
    weights: Weights | None = None
    """Where its weights come from."""
    towers: Towers | None = None
    """A model composed of two encoders; re-opened later by weights.uri alone."""
