"""The way from a run to the objects that it stores: its namespace's Secret, or the environment's credentials."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client.cluster import Cluster
from finetune_sdk.client.errors import ClientError, Forbidden, NotFound, Refused
from finetune_sdk.client.secret import SecretCredentials
from finetune_sdk.contract import DEFAULT_SECRET
from finetune_sdk.errors import StorageUnavailable
from finetune_sdk.storage import CredentialsSource, Store, credentials_from_environment

_SIGNS = ("AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL")
"""Variables by which an environment is known to speak of storage."""


@contextmanager
def opened_output(
    cluster: Cluster, run: FinetuneRun, endpoint: str | None, credentials: CredentialsSource | None
) -> Iterator[Store]:
    """The objects below the run's output.uri. `endpoint`: in place of the Secret's. `credentials`: in place of it all.

    Raises:
        Refused: the output is on a volume, or nobody has keys.
        StorageUnavailable: with what may be done about an endpoint that only pods reach.
    """
    uri = run.spec.output.uri
    if not uri.startswith("s3://"):
        raise Refused(f"output.uri {uri} lies on a volume of the run's pods, which cannot be read from here")
    source = credentials or _credentials_of(cluster, run, endpoint)
    try:
        yield cluster.open_store(uri, source)
    except StorageUnavailable as error:
        if endpoint is not None or not isinstance(source, SecretCredentials):
            raise
        raise StorageUnavailable(
            f"{error}. If only pods reach that endpoint: `kubectl port-forward` its service, and give --endpoint "
            "(in Python: endpoint=)"
        ) from None
    finally:
        if isinstance(source, SecretCredentials):
            source.close()


def _credentials_of(cluster: Cluster, run: FinetuneRun, endpoint: str | None) -> CredentialsSource:
    env = {**os.environ, **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})}
    if run.spec.storage.workload_identity:
        return credentials_from_environment(env)
    namespace = run.metadata.namespace or cluster.namespace
    name = run.spec.storage.secret_ref.name if run.spec.storage.secret_ref else DEFAULT_SECRET
    try:
        return SecretCredentials(cluster.read_secret(namespace, name), f"{namespace}/{name}", endpoint)
    except (Forbidden, NotFound) as error:
        if not any(os.environ.get(sign) for sign in _SIGNS):
            raise _no_keys(error) from None
        return credentials_from_environment(env)


def _no_keys(error: ClientError) -> Refused:
    return Refused(
        f"no keys for the run's storage: {error}. `kubectl finetune storage create` makes the Secret; or set "
        "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --credentials (in Python: credentials=)"
    )
