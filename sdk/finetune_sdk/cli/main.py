"""The `finetune` command: what is done on this machine, and what is read from any run's output.

`kubectl finetune`, for runs on a cluster, is kubectl.py; both are a LazyGroup that run_program runs.
"""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from finetune_sdk.cli.lazy import LazyGroup, Subcommand
from finetune_sdk.cli.program import run_program
from finetune_sdk.heavy import end_process

__all__ = ["SUBCOMMANDS", "Subcommand", "finetune", "main", "program"]

SUBCOMMANDS: Mapping[str, Subcommand] = {
    "init": Subcommand("finetune_sdk.cli.init", "Look at your data and write a first run.yaml."),
    "run": Subcommand("finetune_sdk.cli.run", "Fine-tune on this machine: measure, train, measure again."),
    "evaluate": Subcommand("finetune_sdk.cli.evaluate", "Measure any model on any pictures and captions."),
    "compare": Subcommand("finetune_sdk.cli.compare", "Set two models side by side on the same queries."),
    "models": Subcommand("finetune_sdk.cli.models", "Architectures with size, memory, exports and tags."),
    "weights": Subcommand("finetune_sdk.cli.weights", "Copy published weights into your own storage."),
    "encode": Subcommand("finetune_sdk.cli.encode", "Turn pictures or texts into vectors."),
    "search": Subcommand("finetune_sdk.cli.search", "Find pictures in a folder by a sentence."),
    "status": Subcommand("finetune_sdk.cli.status", "How far a run is, or how it ended, from its output."),
    "report": Subcommand("finetune_sdk.cli.report", "Write the report of a run from its output."),
    "shards": Subcommand("finetune_sdk.cli.shards", "Write a run's test set as CLIP Benchmark reads it."),
    "validate": Subcommand("finetune_sdk.cli.validate", "Check a run's file and name every mistake."),
    "schema": Subcommand("finetune_sdk.cli.schema", "Print the JSON Schema of a run's file, for editors."),
}


class _Finetune(LazyGroup):
    @property
    def entries(self) -> Mapping[str, Subcommand]:
        return SUBCOMMANDS


@click.group(
    cls=_Finetune,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A run is a file: finetune schema describes it, finetune validate checks it, finetune run carries it out. "
    "Runs on a cluster: kubectl finetune --help.",
)
@click.version_option(package_name="finetune-operator", prog_name="finetune")
def finetune() -> None:
    """Fine-tune CLIP on your own pictures and captions, and know by measurement whether it helped."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; None takes the process's own arguments."""
    return run_program(finetune, "finetune", arguments)


def program() -> NoReturn:
    """The `finetune` command as a process."""
    end_process(main())
