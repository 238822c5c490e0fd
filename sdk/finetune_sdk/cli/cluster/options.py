"""What the commands share: which cluster, which run, which keys; and the completion of runs' names."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from finetune_sdk.errors import FinetuneError

if TYPE_CHECKING:
    from finetune_sdk.client import RunClient
    from finetune_sdk.storage import CredentialsSource


@dataclass(frozen=True)
class Target:
    """Which cluster and namespace."""

    namespace: str | None = None
    """None: the context's."""
    context: str | None = None
    kubeconfig: Path | None = None

    def open(self) -> "RunClient":
        """A client; `with` closes it."""
        return open_client(self)


def open_client(target: Target) -> "RunClient":
    """The one place where commands meet a cluster."""
    from finetune_sdk.client import RunClient

    return RunClient(namespace=target.namespace, context=target.context, kubeconfig=target.kubeconfig)


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds -n, --context and --kubeconfig, which the command gets as its first argument: one Target."""

    @click.option("-n", "--namespace", metavar="NAME", help="The namespace.  [default: the context's]")
    @click.option("--context", metavar="NAME", help="A context of the kubeconfig.  [default: its current one]")
    @click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        help="[default: KUBECONFIG, else ~/.kube/config, else the pod's service account]",
    )
    @functools.wraps(command)
    def with_target(*, namespace: str | None, context: str | None, kubeconfig: Path | None, **given: object) -> None:
        command(Target(namespace, context, kubeconfig), **given)

    return with_target


def complete_names(context: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Runs whose name begins so; none where the cluster cannot be asked: a completion never complains."""
    given = context.params
    target = Target(given.get("namespace"), given.get("context"), given.get("kubeconfig"))
    try:
        with open_client(target) as runs:
            return [run.metadata.name for run in runs.list() if run.metadata.name.startswith(begun)]
    except FinetuneError:
        return []


def _bare(_context: click.Context, _param: click.Parameter, value: str | tuple[str, ...]) -> object:
    """`finetunerun.finetune.dev/NAME`, as -o name prints it, is NAME."""
    return tuple(one.rpartition("/")[2] for one in value) if isinstance(value, tuple) else value.rpartition("/")[2]


name_argument = click.argument("name", metavar="NAME", shell_complete=complete_names, callback=_bare)
names_argument = click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_names, callback=_bare
)
endpoint_option = click.option(
    "--endpoint",
    metavar="URL",
    help="The storage's address from here, if it is not the Secret's: such as http://127.0.0.1:9000 of a port-forward.",
)
credentials_option = click.option(
    "--credentials",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with the files endpoint, accessKey, secretKey, region, ca.crt.  [default: the run's Secret, else "
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION, AWS_CA_BUNDLE]",
)


def credentials_in(folder: Path | None) -> "CredentialsSource | None":
    """The keys of --credentials; None: the client finds them."""
    from finetune_sdk.storage import CredentialsDirectory

    return CredentialsDirectory(folder) if folder else None
