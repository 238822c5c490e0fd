"""`finetune validate`: what is wrong with a run's file, all at once."""

import sys
from pathlib import Path

import click

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.errors import FinetuneError, InvalidSpec
from finetune_sdk.runfile import load_run, parse_run


@click.command()
@click.option(
    "-f", "--file", "paths", required=True, multiple=True, help="The FinetuneRun, as YAML; - reads standard input."
)
@click.pass_context
def command(context: click.Context, paths: tuple[str, ...]) -> None:
    """Check runs' files: every mistake with its line, the value met and what would work.

    Relative paths count from the file's folder. Exit code 64 if any file has a mistake. Nothing is read but the file:
    `finetune run` looks at data and weights.
    """
    code = 0
    for path in paths:
        try:
            run = _load(path)
        except InvalidSpec as invalid:
            click.echo(str(invalid), err=True)
            code = invalid.exit_code
        except FinetuneError as unreadable:
            click.echo(str(unreadable), err=True)
            code = code or unreadable.exit_code
        else:
            click.echo(f"{_shown(path)}: ok, {run.kind} {run.metadata.name}")
    context.exit(code)


def _load(path: str) -> FinetuneRun:
    if path == "-":
        return parse_run(sys.stdin.buffer.read(), name=_shown(path), folder=Path.cwd())
    return load_run(Path(path))


def _shown(path: str) -> str:
    return "stdin" if path == "-" else path
