"""How a command line ends: every way becomes a sentence and an exit code."""

import os
import sys
from collections.abc import Mapping, Sequence

import click

from finetune_sdk.errors import FinetuneError

INTERRUPTED = 130
"""128 + SIGINT, as a shell has it."""
PIPE_CLOSED = 1
"""The reader of the output went away; click's code for it."""
BUG = 70
"""EX_SOFTWARE of sysexits.h."""


def run_program(
    group: click.Group, name: str, arguments: Sequence[str] | None, complete_variable: str | None = None
) -> int:
    """Run a command line and return its exit code.

    `name`: as usage texts have it. `arguments`: None takes the process's own. `complete_variable`: by which a shell
    asks for completions; None, click's own name for it.
    """
    try:
        code = group.main(args=arguments, prog_name=name, complete_var=complete_variable, standalone_mode=False)
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
