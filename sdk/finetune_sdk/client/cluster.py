"""What `RunClient` needs of a cluster. Kubernetes is one (kube.py), memory another (memory.py): no rule lives here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from finetune_sdk.storage import CredentialsSource, Store

Json = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]
EVENT_TYPES = frozenset(get_args(EventType))


@dataclass(frozen=True)
class Scope:
    """Which runs."""

    namespace: str | None
    """None: all namespaces."""
    fields: str = ""
    """A field selector, such as status.state=Failed."""
    labels: str = ""
    """A label selector, such as team=vision."""


@dataclass(frozen=True)
class Listing:
    """Runs as they were at one version of the cluster."""

    items: list[Json]
    version: str
    """From which a watch goes on."""


class WatchExpired(Exception):
    """The cluster has forgotten the version that a watch should go on from: list again."""


class Cluster(Protocol):
    """Objects of one cluster as JSON; every method raises ClientError."""

    namespace: str
    """Where a run is looked for if nothing else is said."""

    def list_runs(self, scope: Scope) -> Listing:
        """All runs of the scope."""

    def watch_runs(self, scope: Scope, version: str, seconds: float) -> Iterator[tuple[EventType, Json]]:
        """Changes since `version`, for at most `seconds`; ends whenever the connection does.

        Raises WatchExpired.
        """

    def get_run(self, namespace: str, name: str) -> Json:
        """One run. Raises NotFound."""

    def create_run(self, namespace: str, document: Json) -> Json:
        """A new run. Raises AlreadyExists, InvalidRun."""

    def patch_run(self, namespace: str, name: str, patch: Json) -> Json:
        """Merge `patch` into a run. Raises NotFound, InvalidRun, and Conflict where it holds another version."""

    def delete_run(self, namespace: str, name: str, uid: str) -> None:
        """Delete the run of that uid, and with it its Job and pods. Raises NotFound, Conflict."""

    def list_jobs(self, namespace: str, labels: str) -> list[Json]:
        """Jobs with those labels."""

    def list_pods(self, namespace: str, labels: str) -> list[Json]:
        """Pods with those labels."""

    def read_log(self, namespace: str, pod: str, *, follow: bool, since: str | None, tail: int | None) -> Iterator[str]:
        """Lines of the trainer's container, each with its RFC 3339 time before it; ends whenever the connection does.

        `since`: from this time on; `tail`: only so many of the last. Raises NoLogs where it has not started yet.
        """

    def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """A Secret's keys and values. Raises NotFound, Forbidden."""

    def write_secret(self, namespace: str, name: str, data: Mapping[str, bytes], *, replace: bool) -> None:
        """Make a Secret. Raises AlreadyExists unless it may be replaced."""

    def open_store(self, uri: str, credentials: CredentialsSource | None) -> Store:
        """The objects below `uri`; None: the environment's credentials."""

    def close(self) -> None:
        """Close connections."""
