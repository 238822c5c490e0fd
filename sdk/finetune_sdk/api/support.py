"""What the API says and this version cannot do yet: refused by name, never ignored."""

from collections.abc import Iterator
from typing import NamedTuple

from finetune_sdk.api.exportable import HUGGINGFACE
from finetune_sdk.api.model import Model
from finetune_sdk.api.run import FinetuneRunSpec


class Mistake(NamedTuple):
    """One thing that is wrong with a run's file."""

    path: str
    """Dotted, as in the file: spec.training.batchSize; empty for the file as a whole."""
    value: object
    """The value met; None where a key is missing."""
    message: str
    """What is wrong and what would work."""
    line: int | None = None
    """The line in the file, from 1; None without a file."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def unsupported(spec: FinetuneRunSpec) -> list[Mistake]:
    """What in `spec` is valid and cannot be done, or not yet, each with what to do instead. Empty: it can run."""
    return [*_exports(spec), *_compute(spec)]


def _exports(spec: FinetuneRunSpec) -> Iterator[Mistake]:
    for index, export in enumerate(spec.output.exports):
        if export == "huggingface" and (what := _no_clip_model(spec.model)):
            yield Mistake(
                f"spec.output.exports[{index}]",
                export,
                f"{what} is not one of the {len(HUGGINGFACE)} architectures that can be a Hugging Face CLIPModel: "
                "remove huggingface, or use one such as ViT-B-32-quickgelu (docs/guides/exports.md lists them)",
            )


def _no_clip_model(model: Model) -> str | None:
    """What cannot be one, as far as its name tells: weights with a config of their own are looked at when loaded."""
    if model.towers is not None:
        return "a composed model"
    return model.name if model.name is not None and model.name not in HUGGINGFACE else None


def _compute(spec: FinetuneRunSpec) -> Iterator[Mistake]:
    if spec.compute.nodes > 1:
        yield Mistake("spec.compute.nodes", spec.compute.nodes, "several nodes are not supported yet: use 1")
    if spec.compute.gpus_per_node > 1:
        yield Mistake(
            "spec.compute.gpusPerNode",
            spec.compute.gpus_per_node,
            "several GPUs are not supported yet: use 1, or 0 for the CPU",
        )
