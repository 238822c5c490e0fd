"""`kubectl finetune`: runs on a cluster. kubectl finds it as the program kubectl-finetune on PATH."""

import sys
from collections.abc import Mapping, Sequence

import click
from click.shell_completion import CompletionItem, ShellComplete

from finetune_sdk.cli.lazy import LazyGroup, Subcommand
from finetune_sdk.cli.program import run_program

PROGRAM = "kubectl-finetune"
COMPLETE_VARIABLE = "_KUBECTL_FINETUNE_COMPLETE"
NO_FILES, FILES = 4, 0
"""cobra's directives to kubectl's own completion: nothing else, or names of files."""
_HERE = "finetune_sdk.cli.cluster"

SUBCOMMANDS: Mapping[str, Subcommand] = {
    "list": Subcommand(f"{_HERE}.listing", "Runs with their state, progress, and recall before and after."),
    "status": Subcommand(f"{_HERE}.status", "All about one run, and what to do next."),
    "logs": Subcommand(f"{_HERE}.logs", "The trainer's log, over all attempts with -f."),
    "report": Subcommand(f"{_HERE}.report", "Fetch a run's report from its storage."),
    "wait": Subcommand(f"{_HERE}.wait", "Wait for a run's end, a state or a condition."),
    "suspend": Subcommand(f"{_HERE}.control", "Let a run save and end, and free its GPU.", "suspend"),
    "resume": Subcommand(f"{_HERE}.control", "Let a suspended run go on.", "resume"),
    "retry": Subcommand(f"{_HERE}.control", "Start a failed run again on its output.", "retry"),
    "delete": Subcommand(f"{_HERE}.delete", "Delete a run, with --artifacts also what it stored."),
    "storage": Subcommand(f"{_HERE}.storage", "Keys of the storage that runs use."),
    "completion": Subcommand(f"{_HERE}.completion", "Print the completion script of a shell."),
}


class _KubectlFinetune(LazyGroup):
    @property
    def entries(self) -> Mapping[str, Subcommand]:
        return SUBCOMMANDS


@click.group(
    cls=_KubectlFinetune,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Create runs with kubectl apply -f run.yaml. Without a cluster: finetune --help.",
)
@click.version_option(package_name="finetune-operator", prog_name="kubectl finetune")
def kubectl_finetune() -> None:
    """Fine-tuning runs on a cluster: how they stand, what they came to, and what to do about them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; None takes the process's own arguments."""
    return run_program(kubectl_finetune, "kubectl finetune", arguments, COMPLETE_VARIABLE)


def complete() -> int:
    """The program kubectl_complete-finetune: kubectl asks it what may follow `kubectl finetune WORDS... WORD`.

    The last argument is the word begun, which may be empty. Prints a line each, then cobra's directive.
    """
    *words, begun = sys.argv[1:] or [""]
    found = completions(words, begun)
    for item in found:
        if item.type == "plain":
            click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    click.echo(f":{FILES if any(item.type in ('file', 'dir') for item in found) else NO_FILES}")
    return 0


def completions(words: Sequence[str], begun: str) -> list[CompletionItem]:
    """What may stand in place of `begun` after `words`."""
    return ShellComplete(kubectl_finetune, {}, PROGRAM, COMPLETE_VARIABLE).get_completions(list(words), begun)
