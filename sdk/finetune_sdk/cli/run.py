"""`finetune run`: the whole pipeline on this machine."""

import os
import sys
from pathlib import Path

import click

from finetune_sdk.errors import UsageError
from finetune_sdk.runfile import load_run
from finetune_sdk.storage import CredentialsDirectory, CredentialsSource, credentials_from_environment

TRAINER_MISSING = "this command needs the trainer: pip install 'finetune-operator[trainer]'"


def require_trainer() -> None:
    """Raise UsageError where the package was installed without torch and open_clip."""
    from importlib.util import find_spec

    if find_spec("torch") is None or find_spec("open_clip") is None:
        raise UsageError(TRAINER_MISSING)


def credentials_from(folder: Path | None) -> CredentialsSource:
    """The keys of --credentials, or those of the environment."""
    return CredentialsDirectory(folder) if folder else credentials_from_environment(os.environ)


def cache_root() -> Path:
    """Where decoded pictures and copied weights are kept: FINETUNE_CACHE, else the user's cache folder."""
    if configured := os.environ.get("FINETUNE_CACHE"):
        return Path(configured).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune"


@click.command()
@click.option("-f", "--file", "path", required=True, type=click.Path(path_type=Path), help="The FinetuneRun, as YAML.")
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the storage Secret's keys as files: endpoint, accessKey, secretKey, region, ca.crt.",
)
def command(path: Path, credentials: Path | None) -> None:
    """Fine-tune here: measure, train, measure again on the same queries, and leave model and report.

    The same command goes on after it was stopped or killed, from its last checkpoint.
    """
    run = load_run(path)
    require_trainer()
    from finetune_trainer.display import choose_display, show_result
    from finetune_trainer.pipeline.run import World, run_pipeline

    with choose_display(sys.stderr, os.environ) as display:
        world = World(
            env=os.environ,
            progress=display,
            credentials=credentials_from(credentials),
            cache_root=cache_root(),
            command=f"finetune run -f {path}",
        )
        finished = run_pipeline(run, world)
    show_result(finished.outcome, sys.stdout)
    finished.raise_for_gate()
