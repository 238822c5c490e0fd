"""What must be there before anything else: a cluster that answers, the CRD, and the right to read runs."""

from finetune_operator.api import Api, ApiError
from finetune_operator.namespaces import REFUSED
from finetune_sdk.api.run import GROUP, PLURAL, VERSION


class NotPossible(Exception):
    """The operator cannot run here; the message says what to do."""


async def check(api: Api, namespaces: tuple[str, ...]) -> None:
    """Raise NotPossible where a first read fails for good, and with `namespaces` in each of them."""
    first: ApiError | None = None
    for below in [f"/namespaces/{name}" for name in namespaces] or [""]:
        try:
            await api.get(f"/apis/{GROUP}/{VERSION}{below}/{PLURAL}", {"limit": "1"})
        except ApiError as error:
            first = first or error
            if error.status not in REFUSED:
                break
        else:
            return
    if first is not None:
        raise NotPossible(_advice(first, namespaces)) from first


def _advice(error: ApiError, namespaces: tuple[str, ...]) -> str:
    if error.status == 404:
        return (
            f"the cluster does not know {PLURAL}.{GROUP}: install the CRD with the chart, or with kubectl apply -f "
            f"crds/{PLURAL}.{GROUP}.yaml"
        )
    if error.status in (401, 403):
        where = f" in {' or '.join(namespaces)}" if namespaces else ""
        return (
            f"not allowed to list {PLURAL}.{GROUP}{where} ({error.message}): install the chart's roles, or give "
            "--namespace with the namespaces that this account may read"
        )
    if error.status == 0:
        return f"{error.message}; look at KUBECONFIG and --context"
    return f"the API server answers {error}"
