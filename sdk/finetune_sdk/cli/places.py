"""What several subcommands need: credentials, the cache folder, and URIs as a user types them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from finetune_sdk.errors import UsageError
from finetune_sdk.storage import CredentialsDirectory, CredentialsSource, credentials_from_environment
from finetune_sdk.uri import path_to_uri

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


def uri_of(typed: str) -> str:
    """A path as a file:// URI; a URI as it is."""
    return typed if "://" in typed else path_to_uri(Path(typed).absolute())
