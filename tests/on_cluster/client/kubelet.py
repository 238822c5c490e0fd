"""What the API server asks a kubelet for when somebody reads a pod's log: lines by HTTPS, as the test writes them."""

import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.contract import CONTAINER, RUN_LABEL, RUN_UID_LABEL
from tests.on_cluster.conftest import Kube
from tests.support.certificates import make_certificates
from tests.support.processes import wait_until

PATIENCE_SECONDS = 60.0


class Kubelet:
    """A node that the API server believes in, and its pods' logs."""

    def __init__(self, kube: Kube, port: int) -> None:
        self.name = f"node-{uuid.uuid4().hex[:6]}"
        self.asked: list[dict[str, str]] = []
        """The queries, in order."""
        self.changed = threading.Condition()
        self.logs: dict[str, list[tuple[datetime, str]]] = {}
        self.ended: set[str] = set()
        self.cuts = 0
        """So many connections still break once they have told what there is."""
        self._kube = kube
        kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name}})
        endpoints = {"kubeletEndpoint": {"Port": port}}
        self._status("node", self.name, None, addresses=[_address()], daemonEndpoints=endpoints)

    def pod(self, run: FinetuneRun, number: int) -> str:
        """A running pod of the run, without a log yet; returns its name."""
        name, namespace = f"{run.metadata.name}-trainer-{number}", run.metadata.namespace or ""
        wait_until(lambda: "default" in self._kube("get", "sa", "-n", namespace, "-o", "name"), "a service account")
        labels = {RUN_LABEL: run.metadata.name, RUN_UID_LABEL: run.metadata.uid}
        container = {"name": CONTAINER, "image": "trainer"}
        spec = {"nodeName": self.name, "restartPolicy": "Never", "containers": [container]}
        owner = {"apiVersion": run.api_version, "kind": run.kind, "name": run.metadata.name, "uid": run.metadata.uid}
        metadata = {"name": name, "labels": labels, "ownerReferences": [owner]}  # goes with its run, as a Job's pods do
        self._kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, namespace)
        self.logs[name] = []
        self._pod_status(name, namespace, "Running", {"running": {"startedAt": _stamp(datetime.now(UTC))}})
        return name

    def write(self, pod: str, *lines: str) -> None:
        """The trainer writes."""
        with self.changed:
            for line in lines:
                last = self.logs[pod][-1][0] if self.logs[pod] else datetime.now(UTC)
                self.logs[pod].append((last + timedelta(milliseconds=1), line))
            self.changed.notify_all()

    def end(self, pod: str, namespace: str, phase: str = "Failed") -> None:
        """The trainer's container ends."""
        with self.changed:
            self.ended.add(pod)
            self.changed.notify_all()
        ended = {"terminated": {"exitCode": 1, "finishedAt": _stamp(datetime.now(UTC))}}
        self._pod_status(pod, namespace, phase, ended)

    def remove(self) -> None:
        """Nothing of it stays."""
        self._kube("delete", "pods", "-A", f"--field-selector=spec.nodeName={self.name}", "--force", "--grace-period=0")
        self._kube("delete", "node", self.name)

    def _pod_status(self, pod: str, namespace: str, phase: str, state: dict[str, Any]) -> None:
        told = {"name": CONTAINER, "image": "trainer", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        self._status("pod", pod, namespace, phase=phase, containerStatuses=[told])

    def _status(self, kind: str, name: str, namespace: str | None, **status: Any) -> None:
        place = ["-n", namespace] if namespace else []
        patch = json.dumps({"status": status})
        self._kube("patch", kind, name, *place, "--subresource=status", "--type=merge", "-p", patch)


@contextmanager
def a_kubelet(kube: Kube, folder: Path) -> Iterator[Kubelet]:
    """One, until the end of the block; `folder` is made for its certificates."""
    folder.mkdir()
    make_certificates(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "public.crt", folder / "private.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    kubelet = Kubelet(kube, server.server_address[1])
    server.kubelet = kubelet  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kubelet
    finally:
        kubelet.remove()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """/containerLogs/NAMESPACE/POD/CONTAINER"""
        kubelet: Kubelet = self.server.kubelet  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        kubelet.asked.append(query)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in _lines(kubelet, url.path.split("/")[3], query):
            self._chunk(f"{line}\n".encode())
        if kubelet.cuts > 0:
            kubelet.cuts -= 1
            self.close_connection = True
            self.connection.close()
            return
        self._chunk(b"")

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


def _lines(kubelet: Kubelet, pod: str, query: dict[str, str]) -> Iterator[str]:
    """What there is, with `follow` until the container ends."""
    since = datetime.fromisoformat(query["sinceTime"]) if "sinceTime" in query else None
    told = max(0, len(kubelet.logs[pod]) - int(query["tailLines"])) if "tailLines" in query else 0
    while True:
        with kubelet.changed:
            new = kubelet.logs[pod][told:]
            over = query.get("follow") != "true" or pod in kubelet.ended or (kubelet.cuts > 0 and bool(new))
            if not new and not over:
                kubelet.changed.wait(PATIENCE_SECONDS)
                continue
        told += len(new)
        yield from (f"{_stamp(at)} {line}" for at, line in new if since is None or at >= since)
        if over:
            return


def _address() -> dict[str, str]:
    return {"type": "InternalIP", "address": "127.0.0.1"}


def _stamp(moment: datetime) -> str:
    """With nanoseconds, as container runtimes write."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z"
