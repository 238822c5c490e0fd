"""An API server that is asked thousands of things: connections are kept, answers are values, nothing is stored unless
said so."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from ruamel.yaml import YAML

Json = dict[str, Any]
RUNS = "/apis/finetune.dev/v1alpha1/namespaces/{}/finetuneruns"
AT_ONCE = 8
REFUSALS = (400, 422)
PATIENCE_S = 120.0
"""A machine with many tests may be slow; a verdict is never one of time."""
DRY = "&dryRun=All"


@dataclass(frozen=True)
class Answer:
    """What the API server said to one document."""

    status: int
    body: Json

    @property
    def accepted(self) -> bool:
        """Whether it would be stored; the body is then the object, else why not."""
        return self.status in (200, 201)

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Field and sentence of each thing that is wrong."""
        causes = self.body.get("details", {}).get("causes", [])
        return [(cause.get("field", ""), cause["message"]) for cause in causes]


class Server:
    """The administrator's way in, which may be used by several threads."""

    def __init__(self, kubeconfig: Path) -> None:
        config = YAML(typ="safe").load(kubeconfig)
        cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
        self._url = cluster["server"]
        self._headers = {"Authorization": f"Bearer {token}"}
        authority = cluster["certificate-authority"]
        self._pool = urllib3.PoolManager(
            maxsize=AT_ONCE, block=True, ca_certs=authority, retries=False, timeout=PATIENCE_S
        )

    def call(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> Answer:
        """One request; anything but an acceptance or a refusal of the document is an error."""
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = {**self._headers, "Content-Type": kind}
        answer = self._pool.request(method, self._url + path, body=data, headers=headers)
        found = Answer(answer.status, json.loads(answer.data))
        assert found.accepted or found.status in REFUSALS, f"{method} {path}: {found.status} {found.body}"
        return found

    def create(self, document: Json, namespace: str = "default", *, store: bool = False) -> Answer:
        """As `kubectl create` with strict validation; stored only with `store`."""
        return self.call("POST", f"{RUNS.format(namespace)}?fieldValidation=Strict{'' if store else DRY}", document)

    def replace(self, document: Json, namespace: str = "default", *, store: bool = False) -> Answer:
        """As `kubectl replace`."""
        path = f"{RUNS.format(namespace)}/{document['metadata']['name']}?fieldValidation=Strict{'' if store else DRY}"
        return self.call("PUT", path, document)

    def merge(self, name: str, patch: Json, namespace: str = "default") -> Answer:
        """As `kubectl patch --type=merge --dry-run=server`."""
        path = f"{RUNS.format(namespace)}/{name}?fieldValidation=Strict{DRY}"
        return self.call("PATCH", path, patch, "application/merge-patch+json")

    def create_all(self, documents: Iterable[Json]) -> list[Answer]:
        """Many, side by side, none of them stored; answers in the order of the documents."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(self.create, documents))
