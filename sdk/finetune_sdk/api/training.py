"""spec.training: how the model learns. What is absent is chosen by the amount of data, and written to run.json."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_sdk.api.types import MAX_INT32, WHOLE, Fraction, IntOrAuto, SpecModel


class Optimizer(SpecModel):
    """AdamW."""

    learning_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """The peak rate, after warmup."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.1
    """Not applied to biases, norms and position embeddings."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The rate's factor from each block to the one before it; 1 is the same rate everywhere."""


class Schedule(SpecModel):
    """How the rate moves over the steps."""

    name: Literal["cosine"] = "cosine"
    """From the peak down to 0."""
    warmup_fraction: Fraction | None = None
    """The share of all steps in which the rate rises from 0."""


class TowerFreeze(SpecModel):
    """How much of a tower stays as it is: exactly one of blocks and all."""

    blocks: Annotated[int, Field(ge=0, le=1000)] | None = None  # not WHOLE: a rule in CEL reads it
    """The first so many blocks, and what lies before them."""
    all: bool | None = None
    """The whole tower; a new projection is trained all the same."""


class Freeze(SpecModel):
    """What is not trained."""

    image: TowerFreeze | None = None
    """In the image tower."""
    text: TowerFreeze | None = None
    """In the text tower."""


class Lora(SpecModel):
    """Low-rank adapters in place of full fine-tuning (Hu et al. 2021, arXiv:2106.09685)."""

    rank: Annotated[int, Field(ge=1, le=1024), WHOLE] = 16
    """The rank of each update."""
    alpha: Annotated[float, Field(gt=0, le=65536)] = 32.0
    """Updates are scaled by alpha / rank."""


class WiseFt(SpecModel):
    """Mixing base and fine-tuned weights (Wortsman et al. 2022, arXiv:2109.01903)."""

    alphas: Annotated[list[Fraction], Field(min_length=1, max_length=32)] | None = None
    """The mixtures to try: 0 is the base, which is always tried, 1 the fine-tuned weights."""


class EarlyStopping(SpecModel):
    """An end of training by what validation says."""

    patience: Annotated[int, Field(ge=0, le=1000), WHOLE] | None = None
    """Stop after so many evaluations on validation without a new best; 0 never stops early."""


class Training(SpecModel):
    """Everything here defaults by the amount of data."""

    epochs: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None
    """How often each picture is shown. At most one of epochs and steps."""
    steps: Annotated[int, Field(ge=1, le=MAX_INT32), WHOLE] | None = None
    """How many optimizer updates. At most one of epochs and steps."""
    batch_size: Annotated[int, Field(ge=2, le=1_048_576), WHOLE] | None = None
    """Pairs in one contrastive loss, whatever the GPUs."""
    micro_batch_size: IntOrAuto = "auto"
    """Pairs that go through the model at once on each device; auto takes what fits. Changes memory and speed only."""
    optimizer: Optimizer = Optimizer()
    """AdamW's numbers."""
    schedule: Schedule = Schedule()
    """How the rate moves."""
    loss: Literal["auto", "clip", "siglip"] = "auto"
    """The contrastive loss; auto takes the one that the weights were made with."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """auto: bf16 from compute capability 8 on, else fp16; fp32 on CPU. The measured figures are always fp32."""
    freeze: Freeze = Freeze()
    """What is not trained. Absent: all is."""
    lora: Lora | None = None
    """Low-rank adapters. Absent: full fine-tuning."""
    wiseft: WiseFt = WiseFt()
    """Mixing base and fine-tuned weights after training."""
    early_stopping: EarlyStopping = EarlyStopping()
    """When to stop before the last step."""
    seed: Annotated[int, Field(ge=0, le=MAX_INT32), WHOLE] = 0
    """Decides order, crops and random weights."""
