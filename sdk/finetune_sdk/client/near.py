"""The words for a run that is not there: what is there instead."""

from difflib import get_close_matches

from finetune_sdk.client.cluster import Cluster, Scope
from finetune_sdk.client.errors import ClientError, RunNotFound

SHOWN = 5
"""Names that a message holds."""


def run_not_found(cluster: Cluster, namespace: str, name: str) -> RunNotFound:
    """The error, with near names where the namespace's runs may be listed."""
    try:
        names = sorted(item["metadata"]["name"] for item in cluster.list_runs(Scope(namespace)).items)
    except ClientError:
        names = None
    return RunNotFound(f"there is no run {name!r} in namespace {namespace}{_instead(name, names)}")


def _instead(name: str, names: list[str] | None) -> str:
    if names is None:
        return ""
    if near := get_close_matches(name, names, n=3, cutoff=0.6):
        return f": did you mean {' or '.join(near)}?"
    if not names:
        return ", nor any other: look in all with `kubectl finetune list -A`"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f", only {', '.join(names[:SHOWN])}{more}"
