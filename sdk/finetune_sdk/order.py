"""FINETUNE_RUN: the order that a pod carries out, as one canonical and bounded JSON text."""

from pydantic import ValidationError

from finetune_sdk.api.base import Schema
from finetune_sdk.api.digest import canonical_json
from finetune_sdk.api.run import GROUP, KIND, VERSION, FinetuneRun, FinetuneRunSpec
from finetune_sdk.api.support import unsupported
from finetune_sdk.contract import RUN_VARIABLE, RunOrder
from finetune_sdk.errors import InvalidSpec

TRAINERS_COMPUTE = {"nodes", "gpus_per_node", "service_account_name", "termination_grace_period_seconds"}
"""Of spec.compute what a trainer reads; all else is the pod's, is in the pod, and may be of any size."""


class OrderedRun(Schema):
    """A parsed order: the run as a file would say it, and what only a cluster knows."""

    run: FinetuneRun
    uid: str
    attempt: int


def order_text(*, name: str, namespace: str, uid: str, attempt: int, spec: FinetuneRunSpec) -> str:
    """The value of FINETUNE_RUN, below contract.MAX_ORDER_BYTES for every spec that the schema accepts."""
    written = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"compute"})
    compute = spec.compute.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=TRAINERS_COMPUTE)
    order = RunOrder(
        name=name,
        namespace=namespace,
        uid=uid,
        attempt=attempt,
        spec={**written, **({"compute": compute} if compute else {})},
    )
    return canonical_json(order.model_dump(mode="json", by_alias=True))


def parse_order(text: str) -> OrderedRun:
    """The run that `text` orders.

    Raises:
        InvalidSpec: the text is no order, or orders what this trainer does not know or cannot do.
    """
    try:
        order = RunOrder.model_validate_json(text)
        run = FinetuneRun.model_validate(
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "metadata": {"name": order.name, "namespace": order.namespace, "uid": order.uid},
                "spec": order.spec,
            }
        )
    except ValidationError as error:
        told = "; ".join(": ".join(filter(None, (_dotted(one["loc"]), one["msg"]))) for one in error.errors())
        raise InvalidSpec(
            f"{RUN_VARIABLE} cannot be carried out ({told}): use a trainer image of the operator's version"
        ) from error
    if mistakes := unsupported(run.spec):  # a newer operator may know what this image cannot do
        raise InvalidSpec("; ".join(map(str, mistakes)))
    return OrderedRun(run=run, uid=order.uid, attempt=order.attempt)


def _dotted(keys: tuple[int | str, ...]) -> str:
    return ".".join(map(str, keys))
