"""The API server's refusals as errors and sentences; pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_sdk.api.run import GROUP, KIND, PLURAL
from finetune_sdk.client.errors import (
    AlreadyExists,
    ClientError,
    Conflict,
    CrdMissing,
    Forbidden,
    InvalidRun,
    NoLogs,
    NotFound,
    ServerError,
    Unauthorized,
)

RUNS = f"{PLURAL}.{GROUP}"
LOGS = "pods/log"


@dataclass(frozen=True)
class Asked:
    """What the API server was asked for."""

    verb: str
    """As RBAC has it: get, list, watch, create, patch, delete."""
    resource: str
    """With its group, such as finetuneruns.finetune.dev or pods."""
    namespace: str | None = None
    """None: all."""
    name: str = ""

    @property
    def place(self) -> str:
        """For a sentence."""
        return f"in namespace {self.namespace}" if self.namespace else "in all namespaces"


def refusal(asked: Asked, status: int, body: str) -> ClientError:
    """The error that an answer stands for; `body` is a Status of Kubernetes, or whatever a proxy says."""
    told = _status(body)
    message = str(told.get("message") or " ".join(body.split())[:500] or "no reason given")
    match status:
        case 401:
            return Unauthorized(
                f"the API server does not accept your credentials ({message}): log in again, or give --context"
            )
        case 403:
            return _forbidden(asked, message)
        case 404:
            return _missing(asked, told, message)
        case 409 if told.get("reason") == "AlreadyExists":
            return AlreadyExists(f"{_singular(asked)} {asked.name!r} exists already {asked.place}")
        case 409:
            return Conflict(f"{_singular(asked)} {asked.name!r} was changed by somebody else just now: try again")
        case 400 | 422 if asked.resource == RUNS:
            return InvalidRun(_mistakes(asked, told, message))
        case 400 if asked.resource == LOGS:
            return NoLogs(f"pod {asked.name} has no log yet: {message}")
    if 400 <= status < 500 and status != 429:
        return ClientError(f"the API server refuses to {asked.verb} {asked.resource} {asked.place}: {message}")
    return ServerError(f"the API server failed to {asked.verb} {asked.resource} ({status}: {message}): try again")


def _status(body: str) -> Mapping[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and told.get("kind") == "Status" else {}


def _forbidden(asked: Asked, message: str) -> ClientError:
    what = f"you may not {asked.verb} {asked.resource} {asked.place}"
    if "cannot" not in message:  # quota and admission policies refuse with 403 too, in words of their own
        return Forbidden(f"{what}: {message}")
    roles = "view (to read) or edit (to change)" if asked.resource == RUNS else "edit"
    return Forbidden(
        f"{what}: ask for the role {roles} in the namespace, or give another with -n. The server says: {message}"
    )


def _missing(asked: Asked, told: Mapping[str, Any], message: str) -> ClientError:
    if not told and asked.resource == RUNS:  # a path that the API server does not know is answered in plain text
        return CrdMissing(
            f"the cluster does not know {KIND}: install the operator with `helm install finetune-operator "
            "charts/finetune-operator -n finetune-system --create-namespace`, or look at --context"
        )
    if told.get("details", {}).get("kind") == "namespaces":
        return NotFound(f"namespace {asked.namespace!r} does not exist: kubectl create namespace {asked.namespace}")
    return NotFound(f"no {_singular(asked)} {asked.name!r} {asked.place}" if asked.name else message)


def _singular(asked: Asked) -> str:
    return {RUNS: "run", "secrets": "Secret", "pods": "pod"}.get(asked.resource, asked.resource)


def _mistakes(asked: Asked, told: Mapping[str, Any], message: str) -> str:
    causes = told.get("details", {}).get("causes") or []
    lines = [f"{cause['field']}: {cause['message']}" for cause in causes if cause.get("field") and cause.get("message")]
    if not lines or told.get("reason") != "Invalid":
        lines = [message.removeprefix(f'{KIND} in version "v1alpha1" cannot be handled as a {KIND}: ')]
    verb = {"create": "create", "patch": "change"}.get(asked.verb, asked.verb)
    return "\n".join((f"the API server refuses to {verb} run {asked.name!r}:", *dict.fromkeys(lines)))
