"""What must be there before anything else: a cluster that answers, the CRD, and the right to read runs."""

from finetune_operator.api import Api, ApiError
from finetune_sdk.api.run import GROUP, PLURAL, VERSION


class NotPossible(Exception):
    """The operator cannot run here; the message says what to do."""


async def check(api: Api, namespaces: tuple[str, ...]) -> None:
    """Raise NotPossible where a first read fails for good."""
    below = f"/namespaces/{namespaces[0]}" if namespaces else ""
    try:
        await api.get(f"/apis/{GROUP}/{VERSION}{below}/{PLURAL}", {"limit": "1"})
    except ApiError as error:
        if error.status == 404:
            raise NotPossible(
                f"the cluster does not know {PLURAL}.{GROUP}: install the CRD with the chart, or with kubectl apply -f "
                f"crds/{PLURAL}.{GROUP}.yaml"
            ) from error
        if error.status in (401, 403):
            raise NotPossible(
                f"not allowed to list {PLURAL}.{GROUP} ({error.message}): install the chart's roles, or give "
                "--namespace with the namespaces that this account may read"
            ) from error
        if error.status == 0:
            raise NotPossible(f"{error.message}; look at KUBECONFIG and --context") from error
        raise NotPossible(f"the API server answers {error}") from error
