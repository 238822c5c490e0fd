"""`RunClient`: fine-tuning runs on a cluster, from Python."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from finetune_sdk.api.reasons import State
from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client.artifacts import Deleted, Output, read_report
from finetune_sdk.client.changes import Deadline, RunChange, follow
from finetune_sdk.client.cluster import Cluster, Json, Scope, WatchExpired
from finetune_sdk.client.connect import connect
from finetune_sdk.client.documents import RunLike, document_of, run_from, run_of, selector
from finetune_sdk.client.errors import (
    AlreadyExists,
    ArtifactsLeft,
    ClientError,
    Conflict,
    NotFound,
    Refused,
    RunDeleted,
    ServerError,
    WaitTimeout,
)
from finetune_sdk.client.goals import FINISHED, Goal, is_current, is_finished
from finetune_sdk.client.kube import KubeCluster
from finetune_sdk.client.logs import LogLine, followed_log, newest_log
from finetune_sdk.client.near import run_not_found
from finetune_sdk.client.secret import StorageKeys
from finetune_sdk.client.stored import opened_output
from finetune_sdk.contract import DEFAULT_SECRET, RUN_UID_LABEL
from finetune_sdk.errors import FinetuneError
from finetune_sdk.storage import CredentialsSource

LOOK_SECONDS = 5.0
"""How long a reader of logs waits for a change before it looks at the pods again."""
PODS_PAUSE_SECONDS = 0.5
GRACE_SECONDS = 60.0
"""Beyond their own grace period, for pods to go away."""
RETRY_TRIES = 3


class RunClient:
    """Runs of one cluster. `namespace=None` means the client's own everywhere; errors are those of `errors.py`.

    Use it as a context manager, or call `close`. `finetune_sdk.client.testing.FakeRunClient` is one without a cluster.
    """

    def __init__(
        self,
        *,
        namespace: str | None = None,
        context: str | None = None,
        kubeconfig: str | Path | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        """Connect as kubectl does: no request is made yet.

        `namespace`: None, the context's. `context`: None, the kubeconfig's current one. `kubeconfig`: None, KUBECONFIG,
        else ~/.kube/config, else the pod's service account. `cluster`: another way in than these.

        Raises ClusterPackageMissing, NoCluster.
        """
        self._cluster: Cluster = cluster or KubeCluster(connect(kubeconfig, context))
        if namespace is not None:
            self._cluster.namespace = namespace

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._cluster.close()

    @property
    def namespace(self) -> str:
        """Where a run is looked for if nothing else is said."""
        return self._cluster.namespace

    def create(self, run: RunLike, *, namespace: str | None = None) -> FinetuneRun:
        """Create a run from a model, a document, or the path of a YAML file; returns it as the cluster has it.

        `namespace`: None, the run's own metadata.namespace, else the client's.

        Raises:
            InvalidSpec: every mistake with its field. InvalidRun where the API server found it.
            AlreadyExists: the name is taken.
        """
        wanted = run_from(run)
        document = document_of(wanted)
        place = namespace or wanted.metadata.namespace or self.namespace
        document["metadata"]["namespace"] = place
        return run_of(self._cluster.create_run(place, document))

    def get(self, name: str, *, namespace: str | None = None) -> FinetuneRun:
        """One run as it is now. Raises RunNotFound, which tells near names."""
        place = namespace or self.namespace
        try:
            return run_of(self._cluster.get_run(place, name))
        except NotFound:
            raise run_not_found(self._cluster, place, name) from None

    def list(
        self,
        *,
        namespace: str | None = None,
        all_namespaces: bool = False,
        state: State | None = None,
        labels: Mapping[str, str] | str | None = None,
    ) -> Sequence[FinetuneRun]:
        """Runs by namespace and name. `state` and `labels` are selected by the API server."""
        scope = self._scope(namespace, all_namespaces, f"status.state={state}" if state else "", labels)
        return [run_of(item) for item in self._cluster.list_runs(scope).items]

    def watch(
        self,
        name: str | None = None,
        *,
        namespace: str | None = None,
        all_namespaces: bool = False,
        labels: Mapping[str, str] | str | None = None,
        timeout: float | None = None,
    ) -> Iterator[RunChange]:
        """Each run that is there as `added`, then every change, for `timeout` seconds; None: without end.

        Goes on over broken connections, without telling a change twice.
        """
        fields = f"metadata.name={name}" if name else ""
        yield from follow(
            self._cluster, self._scope(namespace, all_namespaces, fields, labels), Deadline.after(timeout)
        )

    def wait(
        self,
        name: str,
        until: str = FINISHED,
        *,
        timeout: float | None = None,
        namespace: str | None = None,
        on_change: Callable[[FinetuneRun], None] | None = None,
    ) -> FinetuneRun:
        """Wait for `until`: `finished`, a state, `condition=TYPE` or `condition=TYPE=False`; returns the run then.

        `finished` returns a run that Succeeded. `timeout`: seconds; None: no end. `on_change` sees the run at first
        and whenever it changes. A status that does not speak of the present spec yet, as after `retry`, is not heeded.

        Raises:
            RunFailed: it ended in Failed, and that was not waited for.
            Refused: it succeeded, so that what was waited for will not come.
            WaitTimeout, RunNotFound, RunDeleted.
        """
        goal, deadline = Goal.parse(until), Deadline.after(timeout)
        run = self.get(name, namespace=namespace)
        scope = Scope(run.metadata.namespace, f"metadata.name={name}")
        for change in follow(self._cluster, scope, deadline, known=run):
            if change.kind == "deleted":
                raise RunDeleted(f"run {name!r} was deleted while it was waited for; it was {run.status.state}")
            run = change.run
            if on_change is not None:
                on_change(run)
            if goal.reached(run):
                return run
        raise WaitTimeout(
            f"run {name!r} did not come to {goal.text} within {timeout:g} s: it is {_standing(run)}, and goes on", run
        )

    def logs(
        self, name: str, *, follow: bool = False, tail: int | None = None, namespace: str | None = None
    ) -> Iterator[LogLine]:
        """The trainer's log, of the newest pod. `tail`: only so many of its last lines.

        `follow`: lines as they come, of the next attempt's pod after this one's, until the run ends.

        Raises NoLogs, RunNotFound, Forbidden.
        """
        run = self.get(name, namespace=namespace)
        if not follow:
            yield from newest_log(self._cluster, run, tail)
            return
        place = run.metadata.namespace
        yield from followed_log(
            self._cluster, run, tail, look=lambda: self.get(name, namespace=place), wait=self._until_it_changes
        )

    def report(
        self,
        name: str,
        *,
        namespace: str | None = None,
        endpoint: str | None = None,
        credentials: CredentialsSource | None = None,
    ) -> bytes:
        """The run's report.html, from its storage.

        Keys: `credentials`; else the run's Secret; else, where there is none that you may read, the environment's.
        `endpoint`: in place of the Secret's, if storage has another address from here.

        Raises NoReport, RunNotFound, StorageDenied, StorageUnavailable.
        """
        run = self.get(name, namespace=namespace)
        with opened_output(self._cluster, run, endpoint, credentials) as store:
            return read_report(store, run)

    def suspend(self, name: str, *, namespace: str | None = None) -> FinetuneRun:
        """Let the trainer save and end; its GPU is free then. Raises Refused for a run that is over."""
        run = self.get(name, namespace=namespace)
        if is_finished(run):
            raise Refused(f"run {name!r} is {run.status.state}: there is nothing to suspend")
        return self._patch(run, {"spec": {"suspend": True}})

    def resume(self, name: str, *, namespace: str | None = None) -> FinetuneRun:
        """Let a suspended run go on from its checkpoint; one that is not suspended stays as it is."""
        run = self.get(name, namespace=namespace)
        return self._patch(run, {"spec": {"suspend": False}}) if run.spec.suspend else run

    def retry(self, name: str, *, namespace: str | None = None) -> FinetuneRun:
        """Start a Failed run again on its output, from its last checkpoint and with fresh retries; resumes it too.

        Raises:
            Refused: the run has not failed, or the retry that was asked for before has not begun yet.
            Conflict: others keep changing the run.
        """
        for _ in range(RETRY_TRIES):
            run = self.get(name, namespace=namespace)
            if run.status.state != "Failed":
                raise Refused(f"run {name!r} is {_standing(run)}: only a Failed run can be retried")
            if not is_current(run) or run.spec.lifecycle.restart > run.status.restarts:
                raise Refused(f"run {name!r} has a change that the operator has not seen yet: wait for that first")
            spec: Json = {"lifecycle": {"restart": run.spec.lifecycle.restart + 1}}
            version = {"resourceVersion": run.metadata.resource_version}
            with contextlib.suppress(Conflict):
                return self._patch(run, {"metadata": version, "spec": {**spec, "suspend": False}})
        raise Conflict(f"run {name!r} keeps being changed by somebody else: try again")

    def delete(
        self,
        name: str,
        *,
        artifacts: bool = False,
        namespace: str | None = None,
        timeout: float | None = None,
        endpoint: str | None = None,
        credentials: CredentialsSource | None = None,
    ) -> Deleted:
        """Delete a run, and with it its Job and pods. What it has stored stays.

        `artifacts`: also the objects under output.uri, once its pods are gone (at most `timeout` seconds, None: their
        grace period and a minute), and only where owner.json says that they are this run's: that is looked at before
        anything is deleted. `endpoint`, `credentials`: as for `report`.

        Raises:
            OutputNotOwned: the objects are another run's, or nobody's; nothing was deleted.
            ArtifactsLeft: the run was deleted, and then not all of its objects could be.
            RunNotFound, StorageDenied, StorageUnavailable.
        """
        run = self.get(name, namespace=namespace)
        if not artifacts:
            self._delete(run)
            return Deleted(run)
        with opened_output(self._cluster, run, endpoint, credentials) as store:
            output = Output(store, run)
            output.require_own()
            self._delete(run)
            try:
                self._wait_until_gone(run, timeout)
                objects, left = output.erase(datetime.now(UTC))
            except FinetuneError as error:
                raise ArtifactsLeft(
                    f"run {name!r} is deleted, but objects are left under {run.spec.output.uri}: {error}"
                ) from None
        return Deleted(run, objects, left)

    def create_storage(
        self, keys: StorageKeys, *, name: str = DEFAULT_SECRET, namespace: str | None = None, replace: bool = False
    ) -> None:
        """Make the Secret from which runs of the namespace get at storage. Raises AlreadyExists unless `replace`."""
        try:
            self._cluster.write_secret(namespace or self.namespace, name, keys.data(), replace=replace)
        except AlreadyExists as error:
            raise AlreadyExists(f"{error}: give --replace (in Python: replace=True) to renew its keys") from None

    def _scope(
        self, namespace: str | None, everywhere: bool, fields: str, labels: Mapping[str, str] | str | None
    ) -> Scope:
        return Scope(None if everywhere else namespace or self.namespace, fields, selector(labels))

    def _patch(self, run: FinetuneRun, patch: Json) -> FinetuneRun:
        return run_of(self._cluster.patch_run(_place(run), run.metadata.name, patch))

    def _delete(self, run: FinetuneRun) -> None:
        try:
            self._cluster.delete_run(_place(run), run.metadata.name, run.metadata.uid or "")
        except NotFound:
            return  # somebody else was faster

    def _until_it_changes(self, run: FinetuneRun) -> None:
        began = time.monotonic()
        scope = Scope(_place(run), f"metadata.name={run.metadata.name}")
        with contextlib.suppress(WatchExpired, ServerError):  # who looks next has patience
            for _ in self._cluster.watch_runs(scope, run.metadata.resource_version or "", LOOK_SECONDS):
                break
        time.sleep(max(0.0, began + PODS_PAUSE_SECONDS - time.monotonic()))  # should the watch end at once

    def _wait_until_gone(self, run: FinetuneRun, timeout: float | None) -> None:
        """The Job first: as long as it is there it makes pods."""
        grace = run.spec.compute.termination_grace_period_seconds + GRACE_SECONDS
        deadline = Deadline.after(grace if timeout is None else timeout)
        place, labels = _place(run), f"{RUN_UID_LABEL}={run.metadata.uid}"
        while left := self._cluster.list_jobs(place, labels) or self._cluster.list_pods(place, labels):
            if deadline.over():
                names = ", ".join(one["metadata"]["name"] for one in left)
                raise ClientError(f"{names} did not go away in time, and may still write there")
            time.sleep(PODS_PAUSE_SECONDS)


def _place(run: FinetuneRun) -> str:
    return run.metadata.namespace or ""


def _standing(run: FinetuneRun) -> str:
    return f"{run.status.state}{f' ({run.status.reason})' if run.status.reason else ''}"
