"""From a kubeconfig, or a pod's service account, to a client of the package kubernetes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from finetune_sdk.client.errors import ClusterPackageMissing, NoCluster

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE = "default"


class Connection(NamedTuple):
    """An open way to one cluster."""

    client: "ApiClient"
    namespace: str
    """The context's, or the pod's."""


def connect(kubeconfig: str | Path | None = None, context: str | None = None) -> Connection:
    """As kubectl: `kubeconfig`, else KUBECONFIG, else ~/.kube/config; where there is none, the pod's service account.

    `context`: one of the kubeconfig; None: its current one.

    Raises:
        ClusterPackageMissing: the package kubernetes is not installed.
        NoCluster: there is no kubeconfig, it cannot be read, or it has no such context.
    """
    try:
        from kubernetes import client
    except ImportError:
        raise ClusterPackageMissing from None
    configuration = client.Configuration()
    configuration.retries = False  # urllib3's own retries complain in a log; who may wait asks again by itself
    path = os.fspath(kubeconfig or os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
    given = kubeconfig is not None or context is not None or bool(os.environ.get("KUBECONFIG"))
    if not given and not Path(path).exists() and (ACCOUNT / "token").exists():
        namespace = _from_account(configuration)
    else:
        namespace = _from_file(path, context, configuration)
    return Connection(client.ApiClient(configuration), namespace)


def _from_account(configuration: "Configuration") -> str:
    from kubernetes import config

    try:
        config.load_incluster_config(client_configuration=configuration)
        return (ACCOUNT / "namespace").read_text(encoding="utf-8").strip() or DEFAULT_NAMESPACE
    except (config.ConfigException, OSError) as error:
        raise NoCluster(f"the pod's service account cannot be used: {error}") from None


def _from_file(path: str, context: str | None, configuration: "Configuration") -> str:
    import yaml  # type: ignore[import-untyped]  # comes with kubernetes
    from kubernetes import config

    if not any(Path(part).expanduser().exists() for part in path.split(os.pathsep) if part):
        raise NoCluster(f"there is no kubeconfig at {path}: set KUBECONFIG, or give --kubeconfig")
    try:
        contexts, active = config.list_kube_config_contexts(path)
        named = {one["name"]: one for one in contexts}
        if context is not None and context not in named:
            raise NoCluster(f"{path} has no context {context!r}, only {', '.join(sorted(named)) or 'none at all'}")
        config.load_kube_config(path, context, client_configuration=configuration)
    except (config.ConfigException, OSError, KeyError, TypeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise NoCluster(
            f"the kubeconfig at {path} cannot be used ({told}): look at it with `kubectl config view`"
        ) from None
    chosen = named[context] if context is not None else active
    return str(chosen["context"].get("namespace") or DEFAULT_NAMESPACE)
