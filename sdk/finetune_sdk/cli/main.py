"""The `finetune` command: finds the subcommand, and turns every way to end into a sentence and an exit code.

A subcommand's module is imported when it is called, so that `finetune --help` does not wait for pydantic or torch.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import click

from finetune_sdk.errors import FinetuneError

INTERRUPTED = 130
"""128 + SIGINT, as a shell has it."""
PIPE_CLOSED = 1
"""The reader of the output went away; click's code for it."""
BUG = 70
"""EX_SOFTWARE of sysexits.h."""


@dataclass(frozen=True)
class Subcommand:
    """Where a subcommand is, and what `finetune --help` says of it."""

    module: str
    help: str
    attribute: str = "command"


SUBCOMMANDS: Mapping[str, Subcommand] = {
    "run": Subcommand("finetune_sdk.cli.run", "Fine-tune on this machine: measure, train, measure again."),
    "evaluate": Subcommand("finetune_sdk.cli.evaluate", "Measure any model on any pictures and captions."),
    "status": Subcommand("finetune_sdk.cli.status", "How far a run is, or how it ended, from its output."),
    "report": Subcommand("finetune_sdk.cli.report", "Write the report of a run from its output."),
    "shards": Subcommand("finetune_sdk.cli.shards", "Write a run's test set as CLIP Benchmark reads it."),
    "validate": Subcommand("finetune_sdk.cli.validate", "Check a run's file and name every mistake."),
    "schema": Subcommand("finetune_sdk.cli.schema", "Print the JSON Schema of a run's file, for editors."),
}


class LazyGroup(click.Group):
    """A group whose commands are known by name and imported when they are called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Names in the order in which a newcomer meets them."""
        return list(SUBCOMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        entry = SUBCOMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, and names the nearest command for a misspelt one."""
        if args and args[0] not in SUBCOMMANDS and not args[0].startswith("-"):
            ctx.fail(_no_such_command(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with their help, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in SUBCOMMANDS.items()])


def _no_such_command(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, SUBCOMMANDS, n=1)
    return f"No such command {name!r}." + (f" Did you mean {near[0]}?" if near else "")


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A run is a file: finetune schema describes it, finetune validate checks it, finetune run carries it out.",
)
@click.version_option(package_name="finetune-operator", prog_name="finetune")
def finetune() -> None:
    """Fine-tune CLIP on your own pictures and captions, and know by measurement whether it helped."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; None takes the process's own arguments."""
    try:
        code = finetune.main(args=arguments, prog_name="finetune", standalone_mode=False)
        sys.stdout.flush()
    except FinetuneError as error:
        click.echo(str(error), err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, a person gets a sentence
        _tell_bug(error, os.environ)
        return BUG
    return code if isinstance(code, int) else 0


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere; otherwise it complains about the closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_bug(error: Exception, env: Mapping[str, str]) -> None:
    if env.get("FINETUNE_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    click.echo(f"this is a bug: {what}. Set FINETUNE_DEBUG=1 to see where, and please report it.", err=True)
