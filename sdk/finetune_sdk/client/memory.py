"""A cluster in memory: what the API server does with runs, and nothing that an operator does."""

import copy
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from finetune_sdk.api.status import FinetuneRunStatus
from finetune_sdk.client.answers import RUNS, Asked
from finetune_sdk.client.cluster import EventType, Json, Listing, Scope
from finetune_sdk.client.documents import run_from
from finetune_sdk.client.errors import AlreadyExists, Conflict, InvalidRun, NoLogs, NotFound
from finetune_sdk.client.memory_store import MemoryStore
from finetune_sdk.client.selectors import matches
from finetune_sdk.contract import MANAGED_BY, MANAGED_BY_LABEL, RUN_LABEL, RUN_UID_LABEL
from finetune_sdk.storage import CredentialsSource, Store

MUTABLE = ("suspend", "lifecycle")
"""Fields of the spec that may change while a run exists."""
FIXED = (
    "only spec.suspend and spec.lifecycle may change while the run exists: for another spec delete the run and apply "
    "it again, or give it another name"
)
GROWS = "spec.lifecycle.restart: Invalid value: may only grow: each raise starts a failed run once more"
_ANY_SECRET = {"endpoint": b"http://memory", "accessKey": b"memory", "secretKey": b"memory"}
_Key = tuple[str, str]


class MemoryCluster:
    """Runs, pods with logs, Secrets and stored objects. Every namespace is there, and every Secret; thread-safe."""

    def __init__(self, namespace: str, patience: float) -> None:
        """`patience`: seconds after which a watch in which nothing happens is taken for a test that hangs."""
        self.namespace = namespace
        self._patience = patience
        self._changed = threading.Condition(threading.RLock())
        self._version = 0
        self._moment = datetime.now(UTC)
        self._runs: dict[_Key, Json] = {}
        self._events: list[tuple[int, EventType, Json]] = []
        self._pods: dict[str, Json] = {}
        self._logs: dict[str, list[tuple[datetime, str]]] = {}
        self._secrets: dict[_Key, dict[str, bytes]] = {}
        self._stores: dict[str, MemoryStore] = {}

    # Runs

    def list_runs(self, scope: Scope) -> Listing:
        with self._changed:
            found = [copy.deepcopy(self._runs[key]) for key in sorted(self._runs) if _in(scope, self._runs[key])]
            return Listing(found, str(self._version))

    def watch_runs(self, scope: Scope, version: str, seconds: float) -> Iterator[tuple[EventType, Json]]:
        seen = int(version)
        end = time.monotonic() + min(seconds, self._patience)
        while True:
            with self._changed:
                new = [event for event in self._events if event[0] > seen and _in(scope, event[2])]
                seen = self._version
                if not new and not self._changed.wait(max(0.0, end - time.monotonic())):
                    break
            for _, kind, document in new:
                yield kind, copy.deepcopy(document)
            if new:
                end = time.monotonic() + min(seconds, self._patience)
        if seconds > self._patience:
            raise AssertionError(f"nothing happened to a run for {self._patience:g} s: script its course, or wait less")

    def get_run(self, namespace: str, name: str) -> Json:
        with self._changed:
            return copy.deepcopy(self._run(Asked("get", RUNS, namespace, name)))

    def create_run(self, namespace: str, document: Json) -> Json:
        name = document["metadata"]["name"]
        with self._changed:
            if (namespace, name) in self._runs:
                raise AlreadyExists(f"run {name!r} exists already in namespace {namespace}")
            created = copy.deepcopy(document)
            created["metadata"] |= {
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "generation": 1,
                "creationTimestamp": _stamp(self.now()),
            }
            created["status"] = FinetuneRunStatus().model_dump(mode="json", by_alias=True, exclude_none=True)
            return self._put("ADDED", created)

    def patch_run(self, namespace: str, name: str, patch: Json) -> Json:
        with self._changed:
            old = self._run(Asked("patch", RUNS, namespace, name))
            version = patch.get("metadata", {}).get("resourceVersion")
            if version is not None and version != old["metadata"]["resourceVersion"]:
                raise Conflict(f"run {name!r} was changed by somebody else just now: try again")
            new: Json = {**_merged(old, {**patch, "status": {}}), "status": copy.deepcopy(old["status"])}
            _check_change(name, old, new)
            if new["spec"] != old["spec"]:
                new["metadata"]["generation"] += 1
            return self._put("MODIFIED", new) if new != old else copy.deepcopy(old)

    def delete_run(self, namespace: str, name: str, uid: str) -> None:
        with self._changed:
            run = self._run(Asked("delete", RUNS, namespace, name))
            if run["metadata"]["uid"] != uid:
                raise Conflict(f"run {name!r} was changed by somebody else just now: try again")
            del self._runs[namespace, name]
            self._pods = {key: pod for key, pod in self._pods.items() if _run_uid(pod) != uid}
            self._put("DELETED", run)

    def set_status(self, namespace: str, name: str, status: FinetuneRunStatus) -> None:
        """What the operator does: replace a run's status."""
        with self._changed:
            run = copy.deepcopy(self._run(Asked("patch", f"{RUNS}/status", namespace, name)))
            run["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
            self._put("MODIFIED", run)

    # Pods and their logs

    def list_jobs(self, namespace: str, labels: str) -> list[Json]:  # noqa: ARG002 - pods are all that a test sees
        return []

    def list_pods(self, namespace: str, labels: str) -> list[Json]:
        with self._changed:
            pods = [pod for pod in self._pods.values() if pod["metadata"]["namespace"] == namespace]
            return [copy.deepcopy(pod) for pod in pods if matches(labels, pod["metadata"]["labels"])]

    def add_pod(self, run: Json) -> Json:
        """A running pod of the run."""
        with self._changed:
            metadata = run["metadata"]
            made = self.now()
            number = sum(_run_uid(pod) == metadata["uid"] for pod in self._pods.values()) + 1
            labels = {
                RUN_LABEL: metadata["name"],
                RUN_UID_LABEL: metadata["uid"],
                MANAGED_BY_LABEL: MANAGED_BY,
            }
            pod: Json = {
                "metadata": {
                    "name": f"{metadata['name']}-trainer-{number}",
                    "namespace": metadata["namespace"],
                    "uid": str(uuid.uuid4()),
                    "creationTimestamp": made.isoformat(),
                    "labels": labels,
                },
                "status": {"phase": "Running"},
            }
            self._pods[pod["metadata"]["uid"]] = pod
            self._logs[pod["metadata"]["uid"]] = []
            self._changed.notify_all()
            return copy.deepcopy(pod)

    def end_pods(self, run_uid: str, phase: str) -> None:
        """Their containers have ended."""
        with self._changed:
            for pod in self._pods.values():
                if _run_uid(pod) == run_uid and pod["status"]["phase"] == "Running":
                    pod["status"]["phase"] = phase
            self._changed.notify_all()

    def write_log(self, pod_uid: str, line: str) -> None:
        """The trainer has written a line."""
        with self._changed:
            self._logs[pod_uid].append((self.now(), line))
            self._changed.notify_all()

    def read_log(self, namespace: str, pod: str, *, follow: bool, since: str | None, tail: int | None) -> Iterator[str]:
        found = next((one for one in self._pods.values() if one["metadata"]["name"] == pod), None)
        if found is None:
            raise NotFound(f"no pod {pod!r} in namespace {namespace}")
        if not (lines := self._logs[found["metadata"]["uid"]]) and not follow:
            raise NoLogs(f"pod {pod} has no log yet")
        told = max(0, len(lines) - tail) if tail is not None else 0
        while True:
            with self._changed:
                new, told = lines[told:], len(lines)
                ended = not follow or found["status"]["phase"] != "Running"
                if not new and not ended and not self._changed.wait(self._patience):
                    raise AssertionError(
                        f"pod {pod} wrote nothing for {self._patience:g} s: end its run, or follow not"
                    )
            for at, text in new:
                if since is None or at >= datetime.fromisoformat(since):
                    yield f"{at.isoformat()} {text}"
            if ended and not new:
                return

    # Secrets and storage

    def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        return dict(self._secrets.get((namespace, name), _ANY_SECRET))

    def write_secret(self, namespace: str, name: str, data: Mapping[str, bytes], *, replace: bool) -> None:
        if (namespace, name) in self._secrets and not replace:
            raise AlreadyExists(f"Secret {name!r} exists already in namespace {namespace}")
        self._secrets[namespace, name] = dict(data)

    def open_store(self, uri: str, credentials: CredentialsSource | None) -> Store:  # noqa: ARG002
        return self._stores.setdefault(uri.rstrip("/"), MemoryStore(uri.rstrip("/")))

    def close(self) -> None:
        """Nothing is open."""

    def now(self) -> datetime:
        """A moment after every other that was asked for, so that order never depends on how fast a test is."""
        with self._changed:
            self._moment = max(datetime.now(UTC), self._moment + timedelta(microseconds=1))
            return self._moment

    def _run(self, asked: Asked) -> Json:
        try:
            return self._runs[asked.namespace or "", asked.name]
        except KeyError:
            raise NotFound(f"no run {asked.name!r} {asked.place}") from None

    def _put(self, kind: EventType, document: Json) -> Json:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        if kind != "DELETED":
            self._runs[document["metadata"]["namespace"], document["metadata"]["name"]] = document
        self._events.append((self._version, kind, copy.deepcopy(document)))
        self._changed.notify_all()
        return copy.deepcopy(document)


def _check_change(name: str, old: Json, new: Json) -> None:
    """The CRD's transition rules, on values with their defaults."""
    before, after = run_from(old).spec.model_dump(by_alias=True), run_from(new).spec.model_dump(by_alias=True)
    changed = [f"spec.{key}" for key in before if key not in MUTABLE and before[key] != after[key]]
    parts = [f"spec: Forbidden: changed: {' '.join(changed)}; {FIXED}"] if changed else []
    if after["lifecycle"]["restart"] < before["lifecycle"]["restart"]:
        parts.append(GROWS)
    if parts:
        raise InvalidRun("\n".join((f"the API server refuses to change run {name!r}:", *parts)))


def _merged(old: Any, patch: Any) -> Any:
    """A JSON merge patch, RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(copy.deepcopy(old)) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


_FIELDS: dict[str, Callable[[Json], str]] = {
    "metadata.name": lambda run: run["metadata"]["name"],
    "metadata.namespace": lambda run: run["metadata"]["namespace"],
    "status.state": lambda run: run["status"].get("state", ""),
    "status.reason": lambda run: run["status"].get("reason", ""),
}


def _in(scope: Scope, run: Json) -> bool:
    if scope.namespace is not None and run["metadata"]["namespace"] != scope.namespace:
        return False
    fields = {name: value(run) for name, value in _FIELDS.items()}
    return matches(scope.fields, fields) and matches(scope.labels, run["metadata"].get("labels") or {})


def _run_uid(pod: Json) -> str:
    uid: str = pod["metadata"]["labels"][RUN_UID_LABEL]
    return uid


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
