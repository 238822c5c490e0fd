"""`finetune run`: the whole pipeline on this machine."""

import os
import shlex
import sys
from pathlib import Path

import click

from finetune_sdk.api import FinetuneRun
from finetune_sdk.cli.places import credentials_option, open_world
from finetune_sdk.heavy import importing
from finetune_sdk.runfile import load_run


@click.command()
@click.option("-f", "--file", "path", required=True, type=click.Path(path_type=Path), help="The FinetuneRun, as YAML.")
@click.option("--check", is_flag=True, help="Read everything, say what is wrong and what it will take, train nothing.")
@credentials_option
def command(path: Path, check: bool, credentials: Path | None) -> None:
    """Fine-tune here: measure, train, measure again on the same queries, and leave model and report.

    The same command goes on after it was stopped or killed, from its last checkpoint.
    """
    run = load_run(path)
    if check:
        _check(run, path, credentials)
        return
    with open_world(credentials, f"finetune run -f {shlex.quote(str(path))}") as world:
        with importing():
            from finetune_trainer.display.choose import console_for
            from finetune_trainer.display.table import show_result
            from finetune_trainer.pipeline.run import run_pipeline

        finished = run_pipeline(run, world)
    show_result(finished.outcome, console_for(sys.stdout, os.environ), finished.gate)
    finished.raise_for_gate()


def _check(run: FinetuneRun, path: Path, credentials: Path | None) -> None:
    with open_world(credentials, f"finetune run --check -f {shlex.quote(str(path))}") as world:
        with importing():
            from finetune_trainer.display.check import show_check
            from finetune_trainer.display.choose import console_for
            from finetune_trainer.pipeline.check import check_run

        checked = check_run(run, world)
    show_check(checked, console_for(sys.stdout, os.environ))
