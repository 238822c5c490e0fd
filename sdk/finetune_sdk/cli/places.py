"""What several subcommands need: credentials, the cache folder, and URIs as a user types them."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from finetune_sdk.errors import UsageError
from finetune_sdk.storage import CredentialsDirectory, CredentialsSource, credentials_from_environment
from finetune_sdk.uri import path_to_uri

if TYPE_CHECKING:
    from finetune_trainer.pipeline.world import World

TRAINER_MISSING = "this command needs the trainer: pip install 'finetune-operator[trainer]'"
CACHE_VARIABLE = "FINETUNE_CACHE"

Command = TypeVar("Command", bound=Callable[..., object])

credentials_option: Callable[[Command], Command] = click.option(
    "--credentials",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the storage Secret's keys as files: endpoint, accessKey, secretKey, region, ca.crt. "
    "Otherwise from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION and AWS_CA_BUNDLE.",
)


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
    if configured := os.environ.get(CACHE_VARIABLE):
        return Path(configured).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune"


@contextmanager
def open_world(credentials: Path | None, command: str) -> "Iterator[World]":
    """What the trainer meets outside itself, with progress on stderr; `command` is what goes on with a stopped run."""
    require_trainer()
    from finetune_trainer.display.choose import choose_display
    from finetune_trainer.pipeline.world import World

    with choose_display(sys.stderr, os.environ) as display:
        yield World(
            env=os.environ,
            progress=display,
            credentials=credentials_from(credentials),
            cache_root=cache_root(),
            command=command,
        )


def uri_of(typed: str, called: str = "URI") -> str:
    """A path as a file:// URI; a URI as it is. Raises UsageError for nothing, which as a path is the folder here."""
    if not typed:
        raise UsageError(f"{called} is empty, as of a variable that is not set: give a path or a URI")
    return typed if "://" in typed else path_to_uri(Path(typed).absolute())
