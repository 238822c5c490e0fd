"""`kubectl finetune storage create`."""

import os
import sys
from pathlib import Path

import click

from finetune_sdk.cli.cluster.options import Target, cluster_options
from finetune_sdk.contract import DEFAULT_SECRET
from finetune_sdk.errors import UsageError


@click.group()
def command() -> None:
    """Keys of the storage that a namespace's runs read from and write to."""


@command.command()
@click.option("--name", default=DEFAULT_SECRET, show_default=True, help="The Secret; spec.storage.secretRef names it.")
@click.option("--endpoint", metavar="URL", help="As pods reach it.  [default: AWS_ENDPOINT_URL, else asked for]")
@click.option("--access-key", metavar="KEY", help="[default: AWS_ACCESS_KEY_ID, else asked for]")
@click.option(
    "--secret-key-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="A file that holds the secret key; - is standard input.  [default: AWS_SECRET_ACCESS_KEY, else asked for]",
)
@click.option("--region", metavar="NAME", help="[default: AWS_REGION, if set]")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM certificates that pods trust in place of the public ones.",
)
@click.option("--replace", is_flag=True, help="Replace the Secret if it is there; running trainers read the new keys.")
@cluster_options
def create(
    target: Target,
    name: str,
    endpoint: str | None,
    access_key: str | None,
    secret_key_file: Path | None,
    region: str | None,
    ca_file: Path | None,
    replace: bool,
) -> None:
    """Make the Secret from which runs of the namespace get at S3.

    Each key comes from its option, else from its variable, else it is asked for. The secret key is no option, since
    command lines are seen by others on the machine and kept in the shell's history. No key is ever shown.
    """
    from finetune_sdk.client import StorageKeys

    if secret_key_file is None and os.environ.get("AWS_SESSION_TOKEN"):
        raise UsageError(
            "AWS_SESSION_TOKEN is set: such keys end while runs still train. Give keys that last, with --access-key "
            "and --secret-key-file, and unset AWS_SESSION_TOKEN"
        )
    keys = StorageKeys(
        endpoint=_given(endpoint, "AWS_ENDPOINT_URL", "--endpoint", "Endpoint"),
        access_key=_given(access_key, "AWS_ACCESS_KEY_ID", "--access-key", "Access key"),
        secret_key=_secret_key(secret_key_file),
        region=region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        ca=_read(ca_file, "--ca-file") if ca_file else None,
    )
    with target.open() as runs:
        runs.create_storage(keys, name=name, replace=replace)
        click.echo(f"secret/{name} {'written' if replace else 'created'} in namespace {runs.namespace}")


def _secret_key(file: Path | None) -> str:
    if file is None:
        return _given(None, "AWS_SECRET_ACCESS_KEY", "--secret-key-file", "Secret key", hidden=True)
    data = sys.stdin.buffer.read() if str(file) == "-" else _read(file, "--secret-key-file")
    try:
        key = data.decode().strip()
    except UnicodeDecodeError:
        raise UsageError(f"--secret-key-file {file} is no UTF-8 text") from None
    if not key:
        raise UsageError(f"--secret-key-file {file} is empty")
    return key


def _given(value: str | None, variable: str, option: str, question: str, *, hidden: bool = False) -> str:
    """From the option, the variable, or the terminal."""
    found = value or os.environ.get(variable)
    if found:
        return found
    if not sys.stdin.isatty():
        raise UsageError(f"the {question.lower()} is missing: give {option}, or set {variable}")
    answer: str = click.prompt(question, hide_input=hidden, err=True)
    return answer


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror}") from None
