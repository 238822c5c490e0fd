"""What the API says and this version cannot do yet: refused by name, never ignored."""

from collections.abc import Iterator
from typing import NamedTuple

from finetune_sdk.api.run import FinetuneRunSpec

SUPPORTED_EXPORTS = ("open_clip",)


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
    """What in `spec` is valid but not built yet, each with what to do instead. Empty: all of it can run."""
    return [*_training(spec), *_compute(spec)]


def _training(spec: FinetuneRunSpec) -> Iterator[Mistake]:
    for index, export in enumerate(spec.output.exports):
        if export not in SUPPORTED_EXPORTS:
            yield Mistake(
                f"spec.output.exports[{index}]",
                export,
                f"export to {export} is not supported yet: remove it; open_clip is exported",
            )


def _compute(spec: FinetuneRunSpec) -> Iterator[Mistake]:
    if spec.compute.nodes > 1:
        yield Mistake("spec.compute.nodes", spec.compute.nodes, "several nodes are not supported yet: use 1")
    if spec.compute.gpus_per_node > 1:
        yield Mistake(
            "spec.compute.gpusPerNode",
            spec.compute.gpus_per_node,
            "several GPUs are not supported yet: use 1, or 0 for the CPU",
        )
