"""`finetune-operator`: runs the operator, in a pod or on a laptop against the current kubeconfig context."""

import asyncio
import os
import sys

import click

from finetune_operator.api import NoCluster
from finetune_operator.leader import ProcessSettings
from finetune_operator.log import configure
from finetune_operator.preflight import NotPossible
from finetune_operator.process import run
from finetune_operator.settings import PlanSettings
from finetune_sdk.api.patterns import QUANTITY_PATTERN

PREFIX = "FINETUNE_OPERATOR"
LEVELS = ("debug", "info", "warning", "error")
DEFAULT_IMAGE = "finetune-trainer:0.1.0"


def _quantity(_ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    import re

    if not re.match(QUANTITY_PATTERN, value):
        raise click.BadParameter(f"{value!r} is no Kubernetes quantity: write 16Gi, 500m or 2", param=parameter)
    return value


CONTEXT = {"auto_envvar_prefix": PREFIX, "help_option_names": ["-h", "--help"], "show_default": True}


@click.command(context_settings=CONTEXT)
@click.option(
    "-n", "--namespace", "namespaces", multiple=True, help="Where runs are looked after; repeatable. Without: all."
)
@click.option("--trainer-image", default=DEFAULT_IMAGE, help="For runs that name no compute.image.")
@click.option("--cpu", default="2", callback=_quantity, help="Requested for runs that ask for none.")
@click.option("--memory", default="16Gi", callback=_quantity, help="Request and limit of runs that ask for none.")
@click.option("--ephemeral-storage", default="20Gi", callback=_quantity, help="Scratch disk of runs that ask for none.")
@click.option("--shared-memory", default="1Gi", callback=_quantity, help="Size of /dev/shm, part of the memory.")
@click.option("--lease-namespace", help="Of the leader's Lease. Without: the pod's, or the context's.")
@click.option("--context", help="Of the kubeconfig. Without: the current one, or the pod's service account.")
@click.option("--http-port", default=8080, type=click.IntRange(0, 65535), help="Of /healthz, /readyz and /metrics.")
@click.option("--log-level", default="info", type=click.Choice(LEVELS), help="Of the log.")
@click.version_option(package_name="finetune-operator", prog_name="finetune-operator")
def command(
    namespaces: tuple[str, ...],
    trainer_image: str,
    cpu: str,
    memory: str,
    ephemeral_storage: str,
    shared_memory: str,
    lease_namespace: str | None,
    context: str | None,
    http_port: int,
    log_level: str,
) -> None:
    """Carry FinetuneRuns out as Jobs, and keep their status true.

    Each option is an environment variable too: --trainer-image is FINETUNE_OPERATOR_TRAINER_IMAGE.
    """
    configure(log_level)
    settings = ProcessSettings(
        namespaces=namespaces,
        lease_namespace=lease_namespace,
        context=context,
        port=http_port,
        plan=PlanSettings(
            trainer_image=trainer_image,
            requests={"cpu": cpu, "memory": memory, "ephemeral-storage": ephemeral_storage},
            shared_memory=shared_memory,
        ),
    )
    try:
        code = asyncio.run(run(settings))
    except (NotPossible, NoCluster) as error:
        raise click.ClickException(str(error)) from error
    sys.stderr.flush()
    os._exit(code)  # threads of libraries must not keep a process alive that has let go of its lease


def main() -> None:
    """The console script."""
    command()


if __name__ == "__main__":
    main()
